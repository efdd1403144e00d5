// Random numbers that are the same on every machine and with every library.
#ifndef TESSERA_CLIENT_BENCH_RANDOM_H_
#define TESSERA_CLIENT_BENCH_RANDOM_H_

#include <cmath>
#include <cstdint>
#include <numbers>

namespace tessera::client {

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
// Thread-compatible.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Bits() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  // In (0, 1).
  double Uniform() { return (static_cast<double>(Bits() >> 11) + 0.5) * 0x1p-53; }
  // Below `end`, which is not 0.
  uint64_t Below(uint64_t end) { return Bits() % end; }
  // With mean 1.
  double Exponential() { return -std::log(Uniform()); }
  // Mean 0, standard deviation 1 (Box and Muller).
  double Normal() {
    const double radius = std::sqrt(2 * Exponential());
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

 private:
  uint64_t state_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_RANDOM_H_
