// A bf16 checkpoint in the shapes of Llama-3.2-1B, for benches.
#ifndef TESSERA_TESTS_BENCH_LOADING_BENCH_MODEL_H_
#define TESSERA_TESTS_BENCH_LOADING_BENCH_MODEL_H_

#include <filesystem>

#include "absl/status/status.h"

namespace tessera {

// 2.5 GB with 16 layers; `layers` makes it smaller. Kept where it is there already.
absl::Status MakeBenchModel(const std::filesystem::path& folder, int layers);

}  // namespace tessera

#endif  // TESSERA_TESTS_BENCH_LOADING_BENCH_MODEL_H_
