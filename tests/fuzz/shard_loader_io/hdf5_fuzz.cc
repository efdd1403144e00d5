// Any bytes as an HDF5 file, through libhdf5. What it says to read lies inside of the file.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "shard_loader/format/byte_source.h"
#include "shard_loader/io/hdf5_file.h"

// libhdf5 forgets some bytes of its own where it refuses a malformed file; ours are still looked
// for.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }
// It asks for what a file claims; where the system has not so much, it reports an error.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  static std::vector<char*> arguments(*argv, *argv + *argc);
  static char limit[] = "-malloc_limit_mb=1048576";
  arguments.push_back(limit);
  *argc = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  *argv = arguments.data();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const int file = memfd_create("fuzz.h5", 0);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size)) std::abort();
  const auto datasets = ReadHdf5("/proc/self/fd/" + std::to_string(file));
  close(file);
  if (!datasets.ok()) return 0;
  for (const Hdf5Dataset& dataset : *datasets) {
    for (const Hdf5Chunk& chunk : dataset.chunks) {
      if (!Within(chunk.data.offset, chunk.data.bytes, bytes.size())) std::abort();
    }
  }
  return 0;
}
