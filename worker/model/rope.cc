#include "worker/model/rope.h"

#include <algorithm>
#include <cmath>

#include "worker/backend/scalar_math.h"

namespace tessera::worker {
namespace {

using shard_loader::RopeSpec;
using Scaling = RopeSpec::Scaling;

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

// The element whose wavelength fits `rotations` times into the original context.
double ElementOf(const RopeSpec& spec, double rotations, int64_t size) {
  const double context = static_cast<double>(spec.original_context);
  return static_cast<double>(size) * ExactLog(context / (rotations * kTwoPi)) /
         (2 * ExactLog(spec.theta));
}

// Peng et al., equations 21 to 23, with the ramp over elements instead of rotations as in the
// authors' code.
double ScaleYarn(const RopeSpec& spec, double frequency, int64_t element, int64_t size) {
  double low = ElementOf(spec, spec.beta_fast, size);
  double high = ElementOf(spec, spec.beta_slow, size);
  if (spec.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(size - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(element) - low) / (high - low), 0.0, 1.0);
  return frequency / spec.factor * ramp + frequency * (1 - ramp);
}

double Divisor(const RopeSpec& spec, int64_t element, int64_t context_length) {
  const bool is_long = context_length > spec.original_context;
  return (is_long ? spec.long_divisors : spec.short_divisors)[element];
}

double Scale(const RopeSpec& spec, double frequency, int64_t element, int64_t size,
             int64_t context_length) {
  switch (spec.scaling) {
    case Scaling::kNone:
    case Scaling::kDynamic:
      return frequency;
    case Scaling::kLinear:
      return frequency / spec.factor;
    case Scaling::kLlama3:
      return ScaleLlama3(spec, frequency);
    case Scaling::kYarn:
      return ScaleYarn(spec, frequency, element, size);
    case Scaling::kLongrope:
      return frequency / Divisor(spec, element, context_length);
  }
  return frequency;
}

// The base of the powers. kDynamic: theta grows so that the lowest frequency is divided by the
// scaling of the context, at the deployment's length.
double LogTheta(const RopeSpec& spec, int64_t size, int64_t context_length) {
  const double log_theta = ExactLog(spec.theta);
  if (spec.scaling != Scaling::kDynamic || size <= 2) return log_theta;
  const double original = static_cast<double>(spec.original_context);
  const double context = std::max(static_cast<double>(context_length), original);
  const double growth = spec.factor * context / original - (spec.factor - 1);
  return log_theta + ExactLog(growth) * static_cast<double>(size) / static_cast<double>(size - 2);
}

double YarnFactor(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * ExactLog(factor) + 1.0;
}

double AttentionFactor(const RopeSpec& spec) {
  if (spec.attention_factor > 0) return spec.attention_factor;
  if (spec.scaling == Scaling::kYarn) {
    if (spec.mscale == 0 || spec.mscale_all_dim == 0) return YarnFactor(spec.factor, 1.0);
    return YarnFactor(spec.factor, spec.mscale) / YarnFactor(spec.factor, spec.mscale_all_dim);
  }
  if (spec.scaling == Scaling::kLongrope && spec.factor > 1) {
    return std::sqrt(1 +
                     ExactLog(spec.factor) / ExactLog(static_cast<double>(spec.original_context)));
  }
  return 1.0;
}

}  // namespace

Rope::Rope(const RopeSpec& spec, int64_t rotary_size, int64_t context_length) {
  const double log_theta = LogTheta(spec, rotary_size, context_length);
  for (int64_t i = 0; i < rotary_size / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(rotary_size);
    const float frequency = static_cast<float>(ExactExp(-exponent * log_theta));
    frequencies_.push_back(
        static_cast<float>(Scale(spec, frequency, i, rotary_size, context_length)));
  }
  attention_factor_ = static_cast<float>(AttentionFactor(spec));
  if (spec.scales_scores && spec.scaling == Scaling::kYarn) {
    const double factor = YarnFactor(spec.factor, spec.mscale_all_dim);
    score_factor_ = static_cast<float>(factor * factor);
  }
}

void Rope::FillAngles(const int32_t* positions, int64_t num_rows, float* cosines,
                      float* sines) const {
  for (int64_t row = 0; row < num_rows; ++row) {
    const float position = static_cast<float>(positions[row]);
    for (float frequency : frequencies_) {
      const SinCos angle = ExactSinCos(position * frequency);
      *cosines++ = static_cast<float>(angle.cos) * attention_factor_;
      *sines++ = static_cast<float>(angle.sin) * attention_factor_;
    }
  }
}

}  // namespace tessera::worker
