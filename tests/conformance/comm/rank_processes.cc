#include "tests/conformance/comm/rank_processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "tests/support/fixtures.h"
#include "worker/comm/shm_communicator.h"

extern char** environ;

namespace tessera::tests {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kHangLimit(100);

// Descriptor 3 of the child is `region` where there is one; its output goes to `output`.
pid_t Spawn(std::vector<std::string> words, int region, const std::string& output) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  if (region >= 0) posix_spawn_file_actions_adddup2(&actions, region, 3);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start " + words[0]);
  return pid;
}

// True where the process ended with 0 before the deadline; one that did not end is killed.
bool EndedWell(pid_t pid, steady_clock::time_point deadline) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  pollfd entry = {fd, POLLIN, 0};
  const bool ended = poll(&entry, 1, std::max<int>(0, left.count())) == 1;
  close(fd);
  if (!ended) kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string RankProgram() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "comm_rank";
}

std::string OutputOf(const std::string& file) {
  return std::filesystem::exists(file) ? ReadFile(file) : "";
}

}  // namespace

GroupResult RunGroup(const GroupRun& run) {
  TempDir folder;
  const std::string output = folder.path() / "output";
  const int ranks = run.start >= 0 ? run.start : run.tp * run.pp;
  int region = -1;
  if (run.kind == "shm") {
    const int fd = worker::CreateShmRegion().value();
    region = fcntl(fd, F_DUPFD, 100);  // inherited, and clear of the descriptor it gets there
    close(fd);
  }
  std::vector<pid_t> pids;
  for (int r = 0; r < ranks; ++r) {
    std::vector<std::string> words = {RankProgram(),
                                      run.kind,
                                      std::to_string(r),
                                      std::to_string(run.tp),
                                      std::to_string(run.pp),
                                      std::to_string(run.timeout_ms),
                                      run.test,
                                      folder.path()};
    if (!run.interface.empty()) words.push_back(run.interface);
    pids.push_back(Spawn(words, region, output));
  }
  if (region >= 0) close(region);
  const auto deadline = steady_clock::now() + kHangLimit;
  GroupResult result;
  result.ok = true;
  for (int r = 0; r < ranks; ++r) {
    if (r != run.victim) result.ok &= EndedWell(pids[r], deadline);
  }
  if (run.victim >= 0) {
    kill(pids[run.victim], SIGKILL);
    EndedWell(pids[run.victim], deadline);
  }
  result.output = OutputOf(output);
  return result;
}

GroupResult RunWithMpirun(const GroupRun& run) {
  TempDir folder;
  const std::string output = folder.path() / "output";
  // Open MPI leaves memory behind when it ends; a leak checker would take that for ours.
  const std::vector<std::string> words = {"env",
                                          "LSAN_OPTIONS=detect_leaks=0",
                                          "mpirun",
                                          "--allow-run-as-root",
                                          "--oversubscribe",
                                          "-n",
                                          std::to_string(run.tp * run.pp),
                                          RankProgram(),
                                          "mpi",
                                          "mpi",
                                          std::to_string(run.tp),
                                          std::to_string(run.pp),
                                          std::to_string(run.timeout_ms),
                                          run.test};
  const pid_t pid = Spawn(words, -1, output);
  GroupResult result;
  result.ok = EndedWell(pid, steady_clock::now() + kHangLimit);
  result.output = OutputOf(output);
  return result;
}

}  // namespace tessera::tests
