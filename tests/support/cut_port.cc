#include "tests/support/cut_port.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace tessera::tests {

CutPort::CutPort() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  address_.sin_family = AF_INET;
  address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* name = reinterpret_cast<sockaddr*>(&address_);
  socklen_t size = sizeof(address_);
  bool good = bind(listener_, name, size) == 0 && listen(listener_, /*backlog=*/1) == 0 &&
              getsockname(listener_, name, &size) == 0;
  for (int& filler : fillers_) {
    filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    good = good && connect(filler, name, size) == 0;
  }
  if (!good) throw std::runtime_error("no port of 127.0.0.1 can be used");
}

CutPort::~CutPort() {
  close(listener_);
  for (int filler : fillers_) close(filler);
}

std::string CutPort::target() const {
  return "127.0.0.1:" + std::to_string(ntohs(address_.sin_port));
}

void CutPort::Mend() {
  for (size_t i = 0; i < fillers_.size(); ++i) close(accept(listener_, nullptr, nullptr));
}

bool CutPort::Reached(std::chrono::milliseconds limit) {
  pollfd ready = {listener_, POLLIN, 0};
  return poll(&ready, 1, static_cast<int>(limit.count())) == 1;
}

}  // namespace tessera::tests
