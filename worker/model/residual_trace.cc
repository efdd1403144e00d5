#include "worker/model/residual_trace.h"

#include <errno.h>
#include <inttypes.h>

#include "absl/strings/str_cat.h"
#include "worker/tensor/hash.h"

namespace tessera::worker {

absl::StatusOr<std::unique_ptr<ResidualTrace>> ResidualTrace::Open(const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("worker: the trace ", path));
  }
  return std::unique_ptr<ResidualTrace>(new ResidualTrace(file));
}

ResidualTrace::~ResidualTrace() { std::fclose(file_); }

void ResidualTrace::Layer(int64_t layer, const RowTable& rows, const float* residual,
                          int64_t hidden) {
  for (int64_t row = 0; row < rows.num_rows; ++row) {
    std::fprintf(file_, "%" PRIu64 " %d %" PRId64 " %016" PRIx64 "\n", sequences_[row],
                 rows.positions[row], layer,
                 HashFloats(residual + row * hidden, static_cast<size_t>(hidden)));
  }
}

void ResidualTrace::Flush() { std::fflush(file_); }

}  // namespace tessera::worker
