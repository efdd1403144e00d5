#include "tests/support/two_hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <future>
#include <stdexcept>
#include <string>

#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

// Asks something of an interface of the calling thread's host.
void Control(const char* interface, unsigned long what, ifreq& request) {
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int result = ioctl(socket, what, &request);
  const int error = errno;
  close(socket);
  if (result == 0) return;
  throw std::runtime_error(std::string(interface) + ": " + std::strerror(error));
}

void SetUp(const char* interface, bool up) {
  ifreq request = {};
  Control(interface, SIOCGIFFLAGS, request);
  request.ifr_flags =
      static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  Control(interface, SIOCSIFFLAGS, request);
}

void SetAddress(const char* interface, unsigned long what, const char* address) {
  ifreq request = {};
  auto* in = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  in->sin_family = AF_INET;
  inet_pton(AF_INET, address, &in->sin_addr);
  Control(interface, what, request);
}

void SetUpHost(const char* address) {
  SetUp("lo", true);
  SetAddress(TwoHosts::kInterface, SIOCSIFADDR, address);
  SetAddress(TwoHosts::kInterface, SIOCSIFNETMASK, "255.255.255.0");
  SetUp(TwoHosts::kInterface, true);
}

}  // namespace

TwoHosts::TwoHosts() {
  if (unshare(CLONE_NEWNET) != 0) {
    SkipTest(std::string("network namespaces cannot be made here: ") + std::strerror(errno));
  }
  std::async(std::launch::async, [this] {
    if (unshare(CLONE_NEWNET) != 0) return;
    second_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  }).get();
  const std::string wire = "PATH=$PATH:/usr/sbin:/sbin; ip link add " + std::string(kInterface) +
                           " type veth peer name " + kInterface + " netns /proc/" +
                           std::to_string(getpid()) + "/fd/" + std::to_string(second_);
  if (second_ < 0 || std::system(wire.c_str()) != 0) {
    SkipTest("two network namespaces cannot be joined here");
  }
  for (Host host : {Host::kFirst, Host::kSecond}) {
    On(host, [host] { SetUpHost(Address(host)); });
  }
}

TwoHosts::~TwoHosts() { close(second_); }

const char* TwoHosts::Address(Host host) {
  return host == Host::kFirst ? "10.99.7.1" : "10.99.7.2";
}

void TwoHosts::On(Host host, const std::function<void()>& what) {
  std::async(std::launch::async, [&] {
    if (host == Host::kSecond && setns(second_, CLONE_NEWNET) != 0) {
      throw std::runtime_error("the second host cannot be entered");
    }
    what();
  }).get();
}

void TwoHosts::Unplug(Host end) {
  On(end, [] { SetUp(kInterface, false); });
}

void TwoHosts::PlugIn(Host end) {
  On(end, [] { SetUp(kInterface, true); });
}

}  // namespace tessera::tests
