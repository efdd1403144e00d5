// tessera-worker: holds one rank of a model and runs steps for a frontend.
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/rpc/session_auth.h"
#include "proto/rpc/version.h"
#include "worker/app/cache_folder.h"
#include "worker/app/launcher.h"
#include "worker/app/pair_check.h"
#include "worker/app/quantize_check.h"
#include "worker/app/self_check.h"
#include "worker/app/serve.h"
#include "worker/model/cached_images.h"
#include "worker/model/memfd_images.h"
#include "worker/tensor/cpus.h"

namespace {

using tessera::worker::ServeOptions;

constexpr const char* kFooter =
    "Example, one worker of a group on two hosts:\n"
    "  tessera-worker --listen 10.0.0.2:9000 --secret-file /etc/tessera/secret\n"
    "The server then gets --workers 10.0.0.1:9000,10.0.0.2:9000 and the same secret file.";

struct Flags {
  std::string listen;
  std::string secret_file;
  int secret_fd = -1;
  int parent_fd = -1;
  bool once = false;
  std::string comm = "auto";
  std::string log_level = "info";
  bool self_check = false;
  int pairs = 0;  // ranks of the check; 0: none
  int image_fd = -1;
  std::string image_file;
  std::string cache_dir;
  tessera::worker::QuantizeOptions quantize;
  tessera::worker::RunnerRankOptions rank;
  tessera::worker::SimOptions sim;
  bool sim_flag_given = false;
};

void AddSimFlags(CLI::App& app, Flags& flags) {
  const std::string group = "Simulation";
  tessera::worker::SimOptions& sim = flags.sim;
  app.add_option("--sim-ranks", sim.num_ranks,
                 "Ranks that this process plays, all of a group: each listens on --listen with its "
                 "number in the place of %r, or added to the port; ends with its first session")
      ->check(CLI::Range(1, 1024))
      ->group(group);
  app.add_option("--sim-fixed-us", sim.latency.fixed_us, "Modelled microseconds of every step")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--sim-token-us", sim.latency.token_us,
                 "Modelled microseconds of each token, shared by the tp ranks")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  app.add_option("--sim-kv-gbps", sim.latency.kv_gbps,
                 "GB/s at which a rank reads its part of the KV cache")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--sim-memory-gb", sim.memory_gb, "Memory that each rank claims to have")
      ->check(CLI::PositiveNumber)
      ->group(group);
  app.add_option("--sim-poison-token", sim.poison_token, "Token id that ends the process")
      ->group(group);
  app.add_option("--sim-trace", sim.trace, "File for a JSON line about the stages of every step")
      ->group(group);
}

void AddQuantizeFlags(CLI::App& app, Flags& flags) {
  const std::string group = "Quantisation";
  CLI::Option* quantize = app.add_option("--quantize", flags.quantize.quantize,
                                         "Print as JSON what holding --model in int8, int4, "
                                         "int4-g128... costs each weight, and end")
                              ->group(group);
  app.add_option("--model", flags.quantize.model, "The checkpoint's folder")
      ->needs(quantize)
      ->group(group);
  quantize->needs("--model");
  app.add_option("--format", flags.quantize.format, "Format to read the folder as")
      ->needs(quantize)
      ->group(group);
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", "tessera-worker " + std::string(tessera::rpc::Version()));
  app.footer(kFooter);
  app.add_option(
      "--listen", flags.listen,
      "host:port or unix:/path; with --comm mpi the rank is added to the port, and takes "
      "the place of %r in the path");
  app.add_option("--secret-file", flags.secret_file,
                 "File with the secret that the server must know; needed on TCP");
  app.add_option("--threads", flags.rank.threads, "Threads that compute (0: one per CPU)")
      ->check(CLI::Range(0, 4096));
  app.add_option("--cpus", flags.rank.cpus,
                 "CPUs that the threads stay on, in turn: 0,1,2 (default: the system's choice)")
      ->delimiter(',')
      ->check(CLI::Range(0, CPU_SETSIZE - 1));
  flags.rank.kernels = "auto";
  app.add_option(
         "--kernels", flags.rank.kernels,
         "Offer only this kernel set; list: print those of this build, which of them this machine "
         "runs and which one auto takes, and end")
      ->capture_default_str();
  app.add_option(
         "--device", flags.rank.device,
         "What computes: auto (CUDA where there is a device), cpu, cuda, or sim: nothing is "
         "computed, answers come after a modelled time")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "sim"}));
  app.add_option("--comm", flags.comm,
                 "mpi: this process was started by mpirun, one for every rank of the group")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "mpi"}));
  app.add_option("--backend-dir", flags.rank.backend_dir,
                 "Folder of plugins (default: beside the program, or ../lib/tessera)");
  app.add_option("--cache-dir", flags.cache_dir,
                 "Folder of packed weights, which the next start reads; none: nothing is kept "
                 "(default: tessera in the user's cache folder)")
      ->envname("TESSERA_CACHE_DIR");
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_flag("--self-check", flags.self_check, "Print as JSON what this machine offers, and end");
  app.add_option("--pairs", flags.pairs,
                 "With --self-check: also let so many ranks exchange data, every pair of them")
      ->check(CLI::Range(2, 64));
  AddQuantizeFlags(app, flags);
  AddSimFlags(app, flags);
  // Between tessera-server and the workers that it starts.
  app.add_flag("--once", flags.once, "End with the first session");
  const std::string internal = "";
  app.add_option("--parent-fd", flags.parent_fd)->group(internal);
  app.add_option("--secret-fd", flags.secret_fd)->group(internal);
  app.add_option("--comm-fd", flags.rank.comm_fd)->group(internal);
  // The environment, since a test starts the server and not the workers.
  app.add_option("--test-exit-on-token", flags.rank.test_exit_on_token)
      ->envname("TESSERA_TEST_EXIT_ON_TOKEN")
      ->group(internal);
  app.add_option("--test-fail-on-token", flags.rank.test_fail_on_token)
      ->envname("TESSERA_TEST_FAIL_ON_TOKEN")
      ->group(internal);
  app.add_option("--test-reorder-from", flags.rank.test_reorder_from)
      ->envname("TESSERA_TEST_REORDER_FROM")
      ->group(internal);
  app.add_option("--trace-dir", flags.rank.trace_dir)
      ->envname("TESSERA_TRACE_DIR")
      ->group(internal);
  app.add_option("--image-fd", flags.image_fd)->group(internal);
  app.add_option("--image-file", flags.image_file)->group(internal);
}

void SetUpLog(const Flags& flags, std::optional<int> mpi_rank) {
  auto logger = spdlog::stderr_logger_mt("worker");
  logger->set_level(spdlog::level::from_str(flags.log_level));
  // The server adds the time and the rank to what its own children write.
  if (mpi_rank && flags.once) {
    logger->set_pattern(absl::StrCat("%l: rank ", *mpi_rank, ": %v"));
  } else if (flags.parent_fd >= 0) {
    logger->set_pattern("%l: %v");
  } else {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
  }
  spdlog::set_default_logger(logger);
}

std::optional<int> MpiRank(const std::string& comm) {
  if (comm != "mpi") return std::nullopt;
  // Open MPI; MPICH and those that follow it.
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"}) {
    int rank = 0;
    const char* value = getenv(name);
    if (value != nullptr && absl::SimpleAtoi(value, &rank) && rank >= 0) return rank;
  }
  return std::nullopt;
}

absl::StatusOr<std::string> ReadSecret(const Flags& flags) {
  if (!flags.secret_file.empty()) return tessera::rpc::ReadSecretFile(flags.secret_file);
  std::string secret;
  if (flags.secret_fd < 0) return secret;
  std::array<char, 4096> bytes;
  ssize_t count = 0;
  while ((count = read(flags.secret_fd, bytes.data(), bytes.size())) > 0) {
    secret.append(bytes.data(), static_cast<size_t>(count));
  }
  close(flags.secret_fd);
  if (!secret.empty()) return secret;
  return absl::FailedPreconditionError("--secret-fd: the server has sent no secret");
}

// The memory of this rank's weights that the server holds; without it they are read again after a
// restart.
int OpenImage(const Flags& flags, std::optional<int> mpi_rank) {
  if (flags.image_file.empty() || !mpi_rank) return flags.image_fd;
  const std::string path = absl::StrReplaceAll(flags.image_file, {{"%r", absl::StrCat(*mpi_rank)}});
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    spdlog::warn("the server's memory for the weights cannot be opened ({}: {})", path,
                 std::strerror(errno));
  }
  return fd;
}

int SelfCheck(const Flags& flags) {
  tessera::worker::PairCheckOptions pairs{
      .num_ranks = flags.pairs,
      .program = std::filesystem::read_symlink("/proc/self/exe").string(),
      .backend_dir = flags.rank.backend_dir};
  // With --comm mpi this process is one of the ranks that the check itself has started.
  if (std::optional<int> rank = MpiRank(flags.comm)) {
    nlohmann::json report = tessera::worker::CheckMpiPairs(*rank, pairs);
    if (*rank == 0) std::cout << report.dump() << "\n";
    return 0;
  }
  nlohmann::json report = tessera::worker::SelfCheckJson(flags.rank);
  if (flags.pairs > 0) report["pairs"] = tessera::worker::CheckPairs(pairs);
  std::cout << report.dump(2) << "\n";
  return 0;
}

int Quantize(const Flags& flags) {
  tessera::worker::QuantizeOptions options = flags.quantize;
  options.threads = flags.rank.threads > 0 ? flags.rank.threads : tessera::worker::AvailableCpus();
  const auto report = tessera::worker::QuantizeJson(options);
  if (!report.ok()) {
    std::cerr << report.status().message() << "\n";
    return absl::IsInvalidArgument(report.status()) ? 2 : 1;
  }
  std::cout << report->dump(2) << "\n";
  return 0;
}

int Run(const Flags& flags) {
  std::optional<int> mpi_rank = MpiRank(flags.comm);
  SetUpLog(flags, mpi_rank);
  absl::Status status;
  if (flags.rank.device != "sim" && flags.sim_flag_given) {
    status = absl::InvalidArgumentError("--sim-... flags are for --device sim");
  } else if (flags.comm == "mpi" && !mpi_rank) {
    status = absl::FailedPreconditionError(
        "--comm mpi: this process was not started by mpirun; use 'mpirun -n RANKS tessera-worker "
        "--comm mpi --listen ...'");
  } else if (flags.listen.empty()) {
    status = absl::InvalidArgumentError("--listen is missing; see --help");
  } else if (absl::StatusOr<std::string> secret = ReadSecret(flags); !secret.ok()) {
    status = secret.status();
  } else {
    // The server's, which outlives this process; or one of its own, which outlives a session.
    tessera::worker::MemfdImages memory(OpenImage(flags, mpi_rank));
    const std::string cache_folder = tessera::worker::CacheFolder(flags.cache_dir);
    tessera::worker::CachedImages cached(
        cache_folder, &memory, [](bool is_warning, const std::string& text) {
          spdlog::log(is_warning ? spdlog::level::warn : spdlog::level::info, "{}", text);
        });
    tessera::worker::RunnerRankOptions rank = flags.rank;
    rank.images = &memory;
    if (!cache_folder.empty()) rank.images = &cached;
    status = tessera::worker::Serve(
        {.listen = flags.listen,
         .mpi_rank = mpi_rank,
         .secret = *secret,
         .parent_fd = flags.parent_fd,
         .once = flags.once,
         .version = std::string(tessera::rpc::Version()),
         .rank = rank,
         .sim = flags.rank.device == "sim" ? std::optional(flags.sim) : std::nullopt});
  }
  if (status.ok()) return 0;
  spdlog::error("{}", std::string(status.message()));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  // `--launch FD FOLDER PROGRAM ARGUMENTS...`, from a server that runs mpirun.
  if (int fd = 0; argc > 4 && std::string(argv[1]) == "--launch" &&
                  absl::SimpleAtoi(std::string(argv[2]), &fd)) {
    return tessera::worker::Launch({.parent_fd = fd, .folder = argv[3]}, argv + 4);
  }
  CLI::App app("Holds one rank of a model and runs steps for a tessera-server.", "tessera-worker");
  Flags flags;
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  for (const CLI::Option* option : app.get_options()) {
    flags.sim_flag_given |= option->count() > 0 && option->get_name().starts_with("--sim-");
  }
  if (flags.rank.kernels == "list") {
    std::cout << tessera::worker::KernelSetsText(flags.rank);
    return 0;
  }
  if (!flags.quantize.quantize.empty()) return Quantize(flags);
  return flags.self_check ? SelfCheck(flags) : Run(flags);
}
