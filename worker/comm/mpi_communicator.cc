#include "worker/comm/mpi_communicator.h"

#include <dlfcn.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/mesh_communicator.h"
#include "worker/comm/mpi_plugin.h"
#include "worker/comm/spin.h"

namespace tessera::worker {
namespace {

using std::chrono::steady_clock;

constexpr char kPluginFile[] = "libtessera_mpi.so";

// MPI has nothing to sleep on: a rank that finds nothing asks again, ever less often.
class Nap {
 public:
  void Reset() { next_ = kShortest; }
  void Take() {
    const timespec time = {0, next_};
    nanosleep(&time, nullptr);
    next_ = std::min(next_ * 2, kLongest);
  }

 private:
  static constexpr long kShortest = 5'000;  // nanoseconds
  static constexpr long kLongest = 500'000;
  long next_ = kShortest;
};

absl::Status MpiFailed(int peer) {
  return absl::UnavailableError(
      absl::StrCat("comm: rank ", peer, " is gone: MPI reported an error; its world has ended"));
}

class MpiLinks : public Links {
 public:
  // plugin: lives as long as the process. The links are those of the group that it has joined.
  MpiLinks(const TesseraMpiPlugin* plugin, int rank, int size, absl::Duration timeout)
      : plugin_(plugin),
        rank_(rank),
        size_(size),
        timeout_(absl::ToChronoNanoseconds(timeout)),
        spin_(Spin::OwnCpus(), size) {}
  ~MpiLinks() override { Leave(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  absl::StatusOr<size_t> TryWrite(int peer, Stream stream, absl::Span<const std::byte> head,
                                  absl::Span<const std::byte> bytes) override {
    int64_t n = head.empty() ? 0 : plugin_->try_write(peer, stream, head.data(), head.size());
    if (n == static_cast<int64_t>(head.size()) && !bytes.empty()) {
      const int64_t more = plugin_->try_write(peer, stream, bytes.data(), bytes.size());
      n = more < 0 ? more : n + more;
    }
    return Count(n, peer);
  }

  absl::StatusOr<size_t> TryRead(int peer, Stream stream, absl::Span<std::byte> bytes) override {
    return Count(plugin_->try_read(peer, stream, bytes.data(), bytes.size()), peer);
  }

  uint64_t Ticket() override { return 0; }

  absl::Status Wait(uint64_t, Deadline) override {
    // The caller tries again between two calls; only a row of fruitless ones leads to a nap.
    if (idle_++ < (spin_.dedicated() ? kTriesAlone : kTriesShared)) {
      sched_yield();
    } else {
      nap_.Take();
    }
    return absl::OkStatus();
  }

  void Wake() override {}  // naps are shorter than anyone's patience

  void Close(const absl::Status& why) override {
    if (!why.ok()) broken_.store(true);
  }

 private:
  static constexpr int kTriesAlone = 200;
  static constexpr int kTriesShared = 20;

  absl::StatusOr<size_t> Count(int64_t n, int peer) {
    if (n < 0) return MpiFailed(peer);
    if (n > 0) {
      idle_ = 0;
      nap_.Reset();
    }
    return static_cast<size_t>(n);
  }

  // The last bytes may wait for a slow peer, within the timeout.
  void Leave() {
    const auto deadline = steady_clock::now() + timeout_;
    Nap nap;
    while (!broken_.load() && plugin_->leave(0) == 1) {
      if (steady_clock::now() >= deadline) broken_.store(true);
      nap.Take();
    }
    if (broken_.load()) plugin_->leave(1);
  }

  const TesseraMpiPlugin* const plugin_;
  const int rank_;
  const int size_;
  const std::chrono::nanoseconds timeout_;
  const Spin spin_;
  std::atomic<bool> broken_{false};
  int idle_ = 0;
  Nap nap_;
};

std::vector<std::filesystem::path> PluginPlaces(const std::string& plugin_dir) {
  if (!plugin_dir.empty()) return {std::filesystem::path(plugin_dir) / kPluginFile};
  std::error_code error;
  const auto bin = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto root = bin.parent_path();
  return {bin / kPluginFile, root / "lib/tessera" / kPluginFile, root / "lib" / kPluginFile,
          root / "bin" / kPluginFile};
}

absl::StatusOr<const TesseraMpiPlugin*> LoadPlugin(const std::string& plugin_dir) {
  ASSIGN_OR_RETURN(const std::string path, FindMpiPlugin(plugin_dir));
  // Open MPI opens its own plugins, which look for its symbols among the global ones.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: mpi: cannot load the plugin: ", dlerror(),
                     "; install Open MPI (openmpi-bin, libopenmpi3) or choose --comm gloo"));
  }
  auto entry = reinterpret_cast<TesseraMpiPluginEntry>(dlsym(handle, TESSERA_MPI_PLUGIN_ENTRY));
  const TesseraMpiPlugin* plugin = entry == nullptr ? nullptr : entry();
  if (plugin == nullptr || plugin->version != TESSERA_MPI_PLUGIN_VERSION ||
      plugin->bytes != sizeof(TesseraMpiPlugin)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "comm: mpi: ", path, " is not the plugin of this version; take both from one build"));
  }
  return plugin;
}

}  // namespace

absl::StatusOr<std::string> FindMpiPlugin(const std::string& plugin_dir) {
  const std::vector<std::filesystem::path> places = PluginPlaces(plugin_dir);
  std::vector<std::string> folders;
  for (const auto& place : places) {
    std::error_code error;
    if (std::filesystem::is_regular_file(place, error)) return place.string();
    folders.push_back(place.parent_path().string());
  }
  return absl::FailedPreconditionError(
      absl::StrCat("comm: mpi: ", kPluginFile, " was not found in ", absl::StrJoin(folders, ", "),
                   "; build with libopenmpi-dev installed, or give its folder as --backend-dir"));
}

absl::StatusOr<GroupComms> ConnectMpi(const std::string& plugin_dir, int rank, int tp, int pp,
                                      absl::Duration timeout) {
  ASSIGN_OR_RETURN(const TesseraMpiPlugin* plugin, LoadPlugin(plugin_dir));
  const int ranks = tp * pp;
  char error[512] = "";
  if (plugin->start(rank, ranks, kStreams, error, sizeof(error)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("comm: mpi: ", error));
  }
  const auto deadline = steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  Nap nap;
  for (int state = 0; state != 1; nap.Take()) {
    state = plugin->join(error, sizeof(error));
    if (state < 0) return absl::FailedPreconditionError(absl::StrCat("comm: mpi: ", error));
    if (state == 0 && steady_clock::now() >= deadline) {
      plugin->leave(1);
      return absl::DeadlineExceededError(
          absl::StrCat("comm: mpi: rank ", rank, " waited ", absl::FormatDuration(timeout),
                       " for the ", ranks, " ranks of the world, which did not all join"));
    }
  }
  return MakeMeshComms(std::make_unique<MpiLinks>(plugin, rank, ranks, timeout), tp, timeout);
}

}  // namespace tessera::worker
