// Two hosts on one wire, made of network namespaces.
#ifndef TESSERA_TESTS_SUPPORT_TWO_HOSTS_H_
#define TESSERA_TESTS_SUPPORT_TWO_HOSTS_H_

#include <functional>

namespace tessera::tests {

// The namespaces have no name and belong to this process and to what it starts: they go with them,
// however those end. Thread-compatible.
class TwoHosts {
 public:
  // The ends of the wire, on each host.
  static constexpr const char* kInterface = "eth0";
  enum class Host { kFirst, kSecond };

  // From now on this process and what it starts are on the first host: to be made once, while it
  // has no other threads. Ends the test as skipped where the system does not allow it.
  TwoHosts();
  ~TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  static const char* Address(Host host);
  // Runs `what` in a thread that is on this host, and so is what it starts.
  void On(Host host, const std::function<void()>& what);
  // Nothing goes over the wire until it is plugged in; the host at that end sees it at once.
  void Unplug(Host end);
  void PlugIn(Host end);

 private:
  int second_ = -1;  // the namespace
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_TWO_HOSTS_H_
