// A network that is cut, without namespaces: a port of 127.0.0.1 to which what is sent is lost.
#ifndef TESSERA_TESTS_SUPPORT_CUT_PORT_H_
#define TESSERA_TESTS_SUPPORT_CUT_PORT_H_

#include <netinet/in.h>

#include <array>
#include <chrono>
#include <string>

namespace tessera::tests {

// The kernel keeps few connections waiting, here two that lead nowhere, and drops what begins
// another one. Thread-compatible.
class CutPort {
 public:
  // Throws where no port is free.
  CutPort();
  ~CutPort();
  CutPort(const CutPort&) = delete;
  CutPort& operator=(const CutPort&) = delete;

  const sockaddr_in& address() const { return address_; }
  std::string target() const;  // host:port
  // From now on a connection can be made.
  void Mend();
  // Whether one has been made since Mend, or is within `limit`.
  bool Reached(std::chrono::milliseconds limit);

 private:
  int listener_ = -1;
  std::array<int, 2> fillers_ = {-1, -1};
  sockaddr_in address_ = {};
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_CUT_PORT_H_
