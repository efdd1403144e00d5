#include "worker/model/rope.h"

#include "worker/backend/scalar_math.h"

namespace tessera::worker {
namespace {

using shard_loader::RopeSpec;

constexpr double kTwoPi = 6.28318530717958647693;

// Llama 3.1: wavelengths that fit low_freq_factor times into the first context or less are
// stretched, those that fit high_freq_factor times or more are kept, a ramp lies between.
double ScaleLlama3(const RopeSpec& spec, double frequency) {
  const double wavelength = kTwoPi / frequency;
  const double context = static_cast<double>(spec.original_context);
  if (wavelength > context / spec.low_freq_factor) return frequency / spec.factor;
  if (wavelength < context / spec.high_freq_factor) return frequency;
  const double smooth = (context / wavelength - spec.low_freq_factor) /
                        (spec.high_freq_factor - spec.low_freq_factor);
  return (1 - smooth) * frequency / spec.factor + smooth * frequency;
}

double Scale(const RopeSpec& spec, double frequency) {
  switch (spec.scaling) {
    case RopeSpec::Scaling::kNone:
      return frequency;
    case RopeSpec::Scaling::kLinear:
      return frequency / spec.factor;
    case RopeSpec::Scaling::kLlama3:
      return ScaleLlama3(spec, frequency);
  }
  return frequency;
}

}  // namespace

Rope::Rope(const RopeSpec& spec, int64_t head_size) {
  const double log_theta = ExactLog(spec.theta);
  for (int64_t i = 0; i < head_size / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_size);
    const float frequency = static_cast<float>(ExactExp(-exponent * log_theta));
    frequencies_.push_back(static_cast<float>(Scale(spec, frequency)));
  }
}

void Rope::FillAngles(const int32_t* positions, int64_t num_rows, float* cosines,
                      float* sines) const {
  for (int64_t row = 0; row < num_rows; ++row) {
    const float position = static_cast<float>(positions[row]);
    for (float frequency : frequencies_) {
      const SinCos angle = ExactSinCos(position * frequency);
      *cosines++ = static_cast<float>(angle.cos);
      *sines++ = static_cast<float>(angle.sin);
    }
  }
}

}  // namespace tessera::worker
