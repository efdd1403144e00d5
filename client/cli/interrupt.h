// Ctrl-C while something runs.
#ifndef TESSERA_CLIENT_CLI_INTERRUPT_H_
#define TESSERA_CLIENT_CLI_INTERRUPT_H_

#include <signal.h>

#include <functional>
#include <thread>

namespace tessera::client {

// While one lives, SIGINT does not end the process: `action` runs on a thread of its own. They
// nest: the innermost one gets the signal, also one that came before it was made and since the last
// one ended. All of them are made and destroyed by the main thread.
class Interrupt {
 public:
  explicit Interrupt(std::function<void()> action);
  // Waits for a running action, and puts the old behaviour back.
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool happened() const;

 private:
  void Watch();

  const std::function<void()> action_;
  int pipe_[2] = {-1, -1};  // the handler writes, thread_ reads
  int outer_pipe_ = -1;     // where the handler writes when this one is gone
  struct sigaction old_;
  std::thread thread_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_INTERRUPT_H_
