#include "worker/model/slopes.h"

#include "worker/backend/scalar_math.h"

namespace tessera::worker {

std::vector<float> AlibiSlopes(const shard_loader::AttentionSpec& attention) {
  constexpr double kLogTwo = 0.69314718055994530942;
  int64_t power = 1;
  while (power * 2 <= attention.num_heads) power *= 2;
  std::vector<float> slopes;
  for (int64_t head = 0; head < attention.num_heads; ++head) {
    const double steps = head < power ? static_cast<double>(head + 1)
                                      : static_cast<double>(2 * (head - power) + 1) / 2;
    const double exponent = double{attention.alibi_max} * steps / static_cast<double>(power);
    slopes.push_back(static_cast<float>(ExactExp(-exponent * kLogTwo)) * attention.alibi_scale);
  }
  return slopes;
}

}  // namespace tessera::worker
