#include "client/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace tessera::client {
namespace {

// A signal handler reaches nothing but globals.
std::atomic<bool> g_happened{false};
std::atomic<int> g_pipe{-1};

constexpr char kSignal = 's';
constexpr char kStop = 'q';

void OnSignal(int) {
  g_happened = true;
  // A full pipe already holds the news.
  [[maybe_unused]] ssize_t written = write(g_pipe, &kSignal, 1);
}

}  // namespace

Interrupt::Interrupt(std::function<void()> action) : action_(std::move(action)) {
  if (pipe2(pipe_, O_CLOEXEC) != 0) return;  // Ctrl-C ends the process, as without us
  outer_pipe_ = g_pipe.exchange(pipe_[1]);
  if (outer_pipe_ >= 0 && g_happened) OnSignal(SIGINT);

  // The watching thread must not be the one that the signal interrupts.
  sigset_t interrupt, before;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &before);
  thread_ = std::thread([this] { Watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  struct sigaction handler {};
  handler.sa_handler = OnSignal;
  sigaction(SIGINT, &handler, &old_);
}

Interrupt::~Interrupt() {
  if (!thread_.joinable()) return;
  g_happened = false;
  sigaction(SIGINT, &old_, nullptr);
  g_pipe = outer_pipe_;
  [[maybe_unused]] ssize_t written = write(pipe_[1], &kStop, 1);
  thread_.join();
  close(pipe_[0]);
  close(pipe_[1]);
}

bool Interrupt::happened() const { return g_happened; }

void Interrupt::Watch() {
  char news = 0;
  while (read(pipe_[0], &news, 1) == 1 && news != kStop) action_();
}

}  // namespace tessera::client
