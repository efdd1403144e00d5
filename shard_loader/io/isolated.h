// Runs a library that files can crash in a process of its own.
#ifndef TESSERA_SHARD_LOADER_IO_ISOLATED_H_
#define TESSERA_SHARD_LOADER_IO_ISOLATED_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace tessera::shard_loader {

// What `compute` returned in a fork of this process; it may allocate, but must neither wait for
// another thread nor touch what is shared with other processes. Thread-safe. DATA_LOSS where the
// child crashed, took more than a minute of CPU time or returned more than `max_bytes`: the message
// says which, to be put behind the file's name. RESOURCE_EXHAUSTED where none could be made.
absl::StatusOr<std::string> RunIsolated(size_t max_bytes, absl::FunctionRef<std::string()> compute);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_ISOLATED_H_
