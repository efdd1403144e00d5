#include "worker/app/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/app/listen_address.h"
#include "worker/app/timer.h"
#include "worker/app/worker_service.h"

namespace tessera::worker {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
constexpr absl::Duration kShutdownTime = absl::Seconds(5);

// Removes the socket, and its folder where that is private to the group and now empty.
void RemoveSocket(const ListenAddress& address, bool folder_too) {
  if (address.is_tcp()) return;
  unlink(address.socket_path.c_str());
  if (folder_too) rmdir(std::filesystem::path(address.socket_path).parent_path().c_str());
}

// Signals as something to poll for; SIGPIPE is for nobody: a log that is no longer read must not
// end a worker before it has cleaned up.
int BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

std::unique_ptr<grpc::Server> Listen(ListenAddress& address, grpc::Service* service) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address.ToString(), grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds out about a frontend whose host is gone without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr && address.is_tcp()) address.port = port;
  return server;
}

// A simulated group lives in its process alone: another epoch is another process.
bool EndsWithSession(const ServeOptions& options) {
  return options.once || options.parent_fd >= 0 || options.sim.has_value();
}

// The first thread's loop: waits for the reasons to end.
class Lifetime {
 public:
  Lifetime(const ServeOptions& options, int signal_fd)
      : options_(options),
        signal_fd_(signal_fd),
        admitted_fd_(eventfd(0, EFD_CLOEXEC)),
        ended_fd_(eventfd(0, EFD_CLOEXEC)) {}
  ~Lifetime() {
    close(admitted_fd_);
    close(ended_fd_);
  }
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  // From any thread.
  void Admitted() { eventfd_write(admitted_fd_, 1); }
  void Ended() { eventfd_write(ended_fd_, 1); }

  enum class Reason { kSignal, kSessionEnded, kNoSession, kParentEnded };
  Reason Wait() {
    const bool once = EndsWithSession(options_);
    auto first_session = std::chrono::steady_clock::now() +
                         absl::ToChronoNanoseconds(options_.first_session_timeout);
    bool admitted = false;
    while (true) {
      std::array<pollfd, 4> fds = {pollfd{signal_fd_, POLLIN, 0},
                                   {options_.parent_fd, POLLIN, 0},
                                   {admitted_fd_, POLLIN, 0},
                                   {ended_fd_, POLLIN, 0}};
      int timeout = -1;
      if (once && !admitted) timeout = MillisecondsUntil(first_session);
      int ready = poll(fds.data(), fds.size(), timeout);
      if (ready < 0 && errno != EINTR) return Reason::kSignal;
      if (ready == 0) return Reason::kNoSession;
      if (ready < 0) continue;
      if (fds[1].revents != 0) return Reason::kParentEnded;
      if (fds[0].revents != 0) return Reason::kSignal;
      if (fds[2].revents != 0) {
        eventfd_t ignored;
        eventfd_read(admitted_fd_, &ignored);
        admitted = true;
        // Nothing of this worker lies on disk any more: the kernel may end it without a word.
        if (options_.parent_fd >= 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
      }
      if (fds[3].revents != 0) {
        eventfd_t ignored;
        eventfd_read(ended_fd_, &ignored);
        if (once) return Reason::kSessionEnded;
      }
    }
  }

 private:
  static int MillisecondsUntil(std::chrono::steady_clock::time_point time) {
    auto rest =
        std::chrono::ceil<std::chrono::milliseconds>(time - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<int64_t>(0, rest.count()));
  }

  const ServeOptions& options_;
  const int signal_fd_;
  const int admitted_fd_;
  const int ended_fd_;
};

// A rank's socket and what answers there.
struct Listener {
  ListenAddress address;
  std::unique_ptr<WorkerService> service;
  std::unique_ptr<grpc::Server> server;
};

// Of this process's rank, or of all those that it plays.
absl::StatusOr<std::vector<Listener>> ListenAll(const ServeOptions& options,
                                                SimDeployment* simulated, Lifetime& lifetime) {
  std::vector<Listener> listeners;
  const int count = simulated == nullptr ? 1 : simulated->options().num_ranks;
  for (int rank = 0; rank < count; ++rank) {
    Listener& listener = listeners.emplace_back();
    const std::optional<int> number = simulated == nullptr ? options.mpi_rank : rank;
    ASSIGN_OR_RETURN(listener.address, ParseListenAddress(options.listen, number));
    if (listener.address.is_tcp() && options.secret.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "--listen ", options.listen,
          ": on TCP a worker serves only servers that know its secret; give --secret-file FILE, "
          "e.g. with the output of 'openssl rand -hex 32'"));
    }
    listener.service = std::make_unique<WorkerService>(WorkerServiceOptions{
        .session = {.secret = options.secret, .version = options.version},
        .make_rank =
            [&options, simulated] {
              return simulated == nullptr ? MakeRunnerRank(options.rank) : simulated->MakeRank();
            },
        .on_admitted = [&lifetime] { lifetime.Admitted(); },
        .on_ended = [&lifetime] { lifetime.Ended(); }});
    listener.server = Listen(listener.address, listener.service.get());
    if (listener.server == nullptr) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", listener.address.ToString(),
                                                 "; is the address this host's, and free?"));
    }
    spdlog::info("listening on {}", listener.address.ToString());
  }
  return listeners;
}

void RemoveSockets(const std::vector<Listener>& listeners, bool folder_too) {
  for (const Listener& listener : listeners) RemoveSocket(listener.address, folder_too);
}

void Shutdown(std::vector<Listener>& listeners) {
  for (Listener& listener : listeners) listener.service->Shutdown();
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(1);
  for (Listener& listener : listeners) listener.server->Shutdown(deadline);
  for (Listener& listener : listeners) listener.server->Wait();
}

}  // namespace

absl::Status Serve(const ServeOptions& options) {
  int signal_fd = BlockSignals();
  umask(0077);
  // A stopped worker is woken when its server ends, and then reads end-of-file from parent_fd.
  if (options.parent_fd >= 0) prctl(PR_SET_PDEATHSIG, SIGCONT);
  Lifetime lifetime(options, signal_fd);
  std::optional<SimDeployment> simulated;
  if (options.sim) simulated.emplace(*options.sim);
  ASSIGN_OR_RETURN(std::vector<Listener> listeners,
                   ListenAll(options, simulated ? &*simulated : nullptr, lifetime));
  Lifetime::Reason reason = lifetime.Wait();
  if (reason == Lifetime::Reason::kParentEnded) {
    RemoveSockets(listeners, /*folder_too=*/true);
    _exit(0);
  }
  // A rank that does not let go must not keep the process.
  Timer give_up(kShutdownTime, Timer::Mode::kOnce, [&] {
    spdlog::error("the session does not end; the worker ends without it");
    RemoveSockets(listeners, options.once);
    _exit(1);
  });
  Shutdown(listeners);
  RemoveSockets(listeners, options.once || options.parent_fd >= 0);
  if (reason != Lifetime::Reason::kNoSession) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(
      "no server has come within ", absl::FormatDuration(options.first_session_timeout)));
}

}  // namespace tessera::worker
