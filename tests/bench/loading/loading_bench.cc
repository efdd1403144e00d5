// How fast ranks load: against reading the same bytes from the disk, against copying them in
// memory, and against the next start, which maps the image. Every rank is a process, all at the
// same time.
//   loading_bench FOLDER [--layers N] [--tp N] [--threads N] [--cold]
// FOLDER gets the model (2.5 GB with the default of 16 layers) and the images, both kept for the
// next run. --cold: the first line alone.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shard_loader/load/checkpoint.h"
#include "tests/bench/loading/bench_model.h"
#include "worker/model/file_images.h"
#include "worker/model/load_weights.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using shard_loader::Checkpoint;
using shard_loader::RankPlan;

struct Options {
  fs::path folder;
  int layers = 16;
  int tp = 2;
  int threads = 1;  // of a rank
  bool cold_alone = false;
};

double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Drops what the kernel keeps of a file.
void Forget(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  if (fd < 0) return;
  fsync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

struct Outcome {
  double seconds = 0;
  double cpu_seconds = 0;  // of all ranks, system's included
  double peak_mb = 0;      // of the largest rank
};

// body(rank) in a process for each rank; how long until the last is done.
Outcome InProcesses(int ranks, const std::function<void(int)>& body) {
  const double begin = Seconds();
  std::vector<pid_t> children;
  for (int rank = 0; rank < ranks; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      body(rank);
      _exit(0);
    }
    children.push_back(child);
  }
  Outcome outcome;
  for (const pid_t child : children) {
    int status = 0;
    rusage usage{};
    wait4(child, &status, 0, &usage);
    if (status != 0) std::exit(1);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      outcome.cpu_seconds +=
          static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    }
    outcome.peak_mb = std::max(outcome.peak_mb, static_cast<double>(usage.ru_maxrss) / 1024);
  }
  outcome.seconds = Seconds() - begin;
  return outcome;
}

constexpr size_t kReadBytes = 8 << 20;

// Where the rank's part of the file begins, as large as what it would load of it.
off_t PartOf(const fs::path& file, int rank, int ranks) {
  const auto size = static_cast<off_t>(fs::file_size(file));
  return size * rank / ranks / static_cast<off_t>(kReadBytes) * static_cast<off_t>(kReadBytes);
}

// `flags`: of open, for instance O_DIRECT.
void ReadPlainly(const fs::path& file, int rank, int ranks, int flags = 0) {
  const int fd = open(file.c_str(), O_RDONLY | flags);
  const off_t end =
      rank + 1 == ranks ? static_cast<off_t>(fs::file_size(file)) : PartOf(file, rank + 1, ranks);
  void* const buffer = std::aligned_alloc(4096, kReadBytes);
  for (off_t at = PartOf(file, rank, ranks); at < end;) {
    const ssize_t got = pread(fd, buffer, kReadBytes, at);
    if (got <= 0) break;
    at += got;
  }
  std::free(buffer);
  close(fd);
}

// The same through a mapping, from which it is copied.
void ReadMapped(const fs::path& file, int rank, int ranks) {
  const int fd = open(file.c_str(), O_RDONLY);
  const auto size = static_cast<size_t>(fs::file_size(file));
  auto* const bytes = static_cast<char*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0));
  if (bytes == MAP_FAILED) _exit(1);
  madvise(bytes, size, MADV_SEQUENTIAL);
  const size_t end = rank + 1 == ranks ? size : static_cast<size_t>(PartOf(file, rank + 1, ranks));
  std::vector<char> buffer(kReadBytes);
  for (auto at = static_cast<size_t>(PartOf(file, rank, ranks)); at < end; at += kReadBytes) {
    std::memcpy(buffer.data(), bytes + at, std::min(kReadBytes, end - at));
  }
  munmap(bytes, size);
  close(fd);
}

// Source and target far larger than any cache, as much as a rank's weights.
void CopyPlainly(int64_t bytes) {
  std::vector<char> from(64 << 20, 1);
  std::vector<char> to(static_cast<size_t>(bytes));
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(from.size())) {
    std::memcpy(to.data() + at, from.data(),
                std::min<size_t>(from.size(), static_cast<size_t>(bytes - at)));
  }
}

// Of three ratios: disks and neighbours are not the same from one second to the next.
double MedianOf3(const std::function<double()>& ratio) {
  std::array<double, 3> ratios = {ratio(), ratio(), ratio()};
  std::sort(ratios.begin(), ratios.end());
  return ratios[1];
}

void Load(const Options& options, const Checkpoint& checkpoint, const RankPlan& plan,
          worker::WeightImages& images) {
  const auto loaded = worker::LoadWeights(checkpoint, plan, checkpoint.dtype(), images,
                                          {.threads = options.threads});
  if (loaded.ok()) return;
  std::cerr << loaded.status().ToString() << std::endl;
  _exit(1);
}

void Print(nlohmann::json line) {
  line["bench"] = "loading";
  std::cout << line.dump() << std::endl;
}

int Run(const Options& options) {
  const fs::path model = options.folder / "model";
  if (const absl::Status made = MakeBenchModel(model, options.layers); !made.ok()) {
    std::cerr << made.ToString() << std::endl;
    return 1;
  }
  const auto checkpoint = Checkpoint::Open(model).value();
  const auto plans = shard_loader::MakeRankPlans(checkpoint->spec(), {options.tp, 1}).value();
  const fs::path file = model / "model.safetensors";
  const int ranks = options.tp;
  const double megabytes = static_cast<double>(checkpoint->total_bytes()) / 1e6;
  const auto load = [&](int rank) {
    worker::PrivateImages images;
    Load(options, *checkpoint, plans[rank], images);
  };
  const auto when_cold = [&](const std::function<void(int)>& body) {
    Forget(file);
    return InProcesses(ranks, body);
  };
  const auto cold_seconds = [&](const std::function<void(int)>& body) {
    return when_cold(body).seconds;
  };
  const auto read = [&](int rank) { ReadPlainly(file, rank, ranks); };
  const fs::path cache = options.folder / "cache";
  const auto load_cached = [&](int rank) {
    worker::FileImages images(cache);
    Load(options, *checkpoint, plans[rank], images);
  };

  Outcome plain_reading;
  Outcome cold;
  const double beside_reading = MedianOf3([&] {
    plain_reading = when_cold(read);
    cold = when_cold(load);
    return cold.seconds / plain_reading.seconds;
  });
  Print({{"what", "cold"},
         {"mb_per_s", megabytes / cold.seconds},
         {"cpu_s", cold.cpu_seconds},
         {"reading_cpu_s", plain_reading.cpu_seconds},
         {"beside", "reading the same bytes"},
         {"ratio", beside_reading},
         {"wanted", "< 1.3"}});
  if (options.cold_alone) return 0;
  const double direct = MedianOf3([&] {
    const double plain = cold_seconds(read);
    return cold_seconds([&](int rank) { ReadPlainly(file, rank, ranks, O_DIRECT); }) / plain;
  });
  const double mapped = MedianOf3([&] {
    const double plain = cold_seconds(read);
    return cold_seconds([&](int rank) { ReadMapped(file, rank, ranks); }) / plain;
  });
  Outcome warm;
  const double beside_copying = MedianOf3([&] {
    warm = InProcesses(ranks, load);
    const Outcome copy = InProcesses(
        ranks, [&](int) { CopyPlainly(static_cast<int64_t>(checkpoint->total_bytes()) / ranks); });
    return copy.seconds / warm.seconds;
  });
  fs::remove_all(cache);
  Forget(file);
  const Outcome first = InProcesses(ranks, load_cached);
  const Outcome second = InProcesses(ranks, load_cached);
  const double weights_mb = megabytes * 1e6 / 1048576 / ranks;
  Print({{"what", "plain reading, O_DIRECT"},
         {"beside", "plain reading, pread"},
         {"ratio", direct},
         {"wanted", "says what the loader should use"}});
  Print({{"what", "plain reading, mmap"},
         {"beside", "plain reading, pread"},
         {"ratio", mapped},
         {"wanted", "says what the loader should use"}});
  Print({{"what", "warm"},
         {"mb_per_s", megabytes / warm.seconds},
         {"beside", "copying in memory"},
         {"ratio", beside_copying},
         {"wanted", "> 0.5"}});
  Print({{"what", "second start"},
         {"mb_per_s", megabytes / second.seconds},
         {"beside", "the first start"},
         {"ratio", second.seconds / first.seconds},
         {"wanted", "< 0.1"}});
  Print({{"what", "peak memory of a rank"},
         {"mb", warm.peak_mb},
         {"beside", "its weights"},
         {"mb_more", warm.peak_mb - weights_mb},
         {"wanted", "< 300 MB more"}});
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  tessera::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool has_value = argument.starts_with("--") && i + 1 < argc;
    if (argument == "--layers" && has_value) {
      options.layers = std::atoi(argv[++i]);
    } else if (argument == "--tp" && has_value) {
      options.tp = std::atoi(argv[++i]);
    } else if (argument == "--threads" && has_value) {
      options.threads = std::atoi(argv[++i]);
    } else if (argument == "--cold") {
      options.cold_alone = true;
    } else {
      options.folder = argument;
    }
  }
  if (options.folder.empty()) {
    std::cerr << "usage: loading_bench FOLDER [--layers N] [--tp N] [--threads N] [--cold]"
              << std::endl;
    return 2;
  }
  return tessera::Run(options);
}
