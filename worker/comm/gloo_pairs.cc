#include "worker/comm/gloo_pairs.h"

#include <dirent.h>
#include <fcntl.h>
#include <gloo/transport/buffer.h>
#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/address.h>
#include <gloo/transport/tcp/device.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using gloo::transport::Buffer;
using gloo::transport::Context;
using gloo::transport::Device;

// Gloo reads into a buffer by its number, which both sides agree on.
constexpr int kSlot = 0;
// The kernel takes this much from us before a write waits, and keeps this much for us, as far as it
// allows. Its first guess of what to keep is two segments of the loopback device; a sender that
// finds room for less than one waits for a timer, and longer each time.
constexpr int kSocketBytes = 1 << 20;

// What Gloo writes in front of a frame, at most (its Op::preamble has 56).
constexpr int kGlooHeaderBytes = 64;

struct Peer {
  std::vector<std::byte> out;
  std::vector<std::byte> in;
  std::unique_ptr<Buffer> send;
  std::unique_ptr<Buffer> recv;
  int socket = -1;  // our own duplicate
};

bool SameAddress(const sockaddr_storage& a, const sockaddr_storage& b) {
  if (a.ss_family != b.ss_family) return false;
  if (a.ss_family == AF_INET) {
    const auto& x = reinterpret_cast<const sockaddr_in&>(a);
    const auto& y = reinterpret_cast<const sockaddr_in&>(b);
    return x.sin_port == y.sin_port && x.sin_addr.s_addr == y.sin_addr.s_addr;
  }
  const auto& x = reinterpret_cast<const sockaddr_in6&>(a);
  const auto& y = reinterpret_cast<const sockaddr_in6&>(b);
  return x.sin6_port == y.sin6_port && std::memcmp(&x.sin6_addr, &y.sin6_addr, 16) == 0;
}

bool IsConnectedFrom(int fd, const sockaddr_storage& local) {
  sockaddr_storage name = {}, peer = {};
  socklen_t name_bytes = sizeof(name), peer_bytes = sizeof(peer);
  return getsockname(fd, reinterpret_cast<sockaddr*>(&name), &name_bytes) == 0 &&
         getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_bytes) == 0 &&
         SameAddress(name, local);
}

// A duplicate of the socket behind a pair. Gloo does not show it, but a synchronous read can
// neither be waited for together with others nor be interrupted without it. Its local address is
// its own: a pair listens on a port of its own.
int DuplicateSocket(const gloo::transport::Pair& pair) {
  const sockaddr_storage local =
      gloo::transport::tcp::Address(pair.address().bytes()).getSockaddr();
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return -1;
  int found = -1;
  while (const dirent* entry = readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (fd <= 2 || found >= 0 || !IsConnectedFrom(fd, local)) continue;
    found = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  }
  closedir(folder);
  return found;
}

absl::Status Gone(int peer, const std::exception& error) {
  return absl::UnavailableError(
      absl::StrCat("comm: rank ", peer, " is gone: the connection to it ended: ", error.what()));
}

// Gloo writes without MSG_NOSIGNAL: the end of a peer must not be the end of this process.
void IgnoreBrokenPipes() {
  struct sigaction action;
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN);
  }
}

std::shared_ptr<Device> MakeDevice(const std::string& interface) {
  gloo::transport::tcp::attr attr;
  if (!interface.empty() && if_nametoindex(interface.c_str()) != 0) {
    attr.iface = interface;
    attr.ai_family = AF_INET;
    try {
      return gloo::transport::tcp::CreateDevice(attr);
    } catch (const std::exception&) {
      attr.ai_family = AF_INET6;
    }
    return gloo::transport::tcp::CreateDevice(attr);
  }
  attr.hostname = interface;
  if (!interface.empty()) return gloo::transport::tcp::CreateDevice(attr);
  try {
    return gloo::transport::tcp::CreateDevice(attr);
  } catch (const std::exception&) {
    attr.hostname = "127.0.0.1";
  }
  return gloo::transport::tcp::CreateDevice(attr);
}

absl::StatusOr<std::shared_ptr<Device>> OpenDevice(const std::string& interface) {
  try {
    return MakeDevice(interface);
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: gloo: cannot listen on '", interface, "': ", error.what(),
                     "; give an interface or an address of this host as --collective-interface"));
  }
}

// Bytes of an address in a value of the store; a value holds one per rank, this one's left zero.
size_t AddressBytes() { return gloo::transport::tcp::Address().bytes().size(); }

std::string AddressKey(int rank) { return absl::StrCat("gloo/address/", rank); }
std::string ReadyKey(int rank) { return absl::StrCat("gloo/ready/", rank); }

// The values of all peers under `key`; names those that have set none before `deadline`.
absl::StatusOr<std::vector<std::string>> GetAll(const GlooOptions& options,
                                                std::string (*key)(int rank), absl::Time deadline) {
  std::vector<std::string> values(options.tp * options.pp);
  std::vector<int> missing;
  absl::Status error;
  for (int r = 0; r < options.tp * options.pp; ++r) {
    if (r == options.rank) continue;
    auto value = options.store->Get(
        key(r), std::max(deadline - absl::Now(), absl::Milliseconds(missing.empty() ? 1 : 0)));
    if (value.ok()) {
      values[r] = std::move(*value);
    } else if (absl::IsDeadlineExceeded(value.status())) {
      missing.push_back(r);
    } else {
      error = value.status();
    }
  }
  if (!error.ok()) return error;
  if (missing.empty()) return values;
  return absl::DeadlineExceededError(absl::StrCat("comm: gloo: rank ", options.rank,
                                                  " waited to join: rank ",
                                                  absl::StrJoin(missing, ", "), " did not come"));
}

}  // namespace

struct GlooPairs::Impl {
  std::shared_ptr<Device> device;
  std::shared_ptr<Context> context;  // owns the pairs; shared with them by Gloo
  std::vector<Peer> peers;           // declared last: buffers go before their pairs

  ~Impl() {
    for (Peer& peer : peers) {
      peer.send.reset();
      peer.recv.reset();
      if (peer.socket < 0) continue;
      shutdown(peer.socket, SHUT_RDWR);
      close(peer.socket);
    }
  }

  // What the peers need to reach this rank: for each of them the address of its pair.
  std::string Listen(const GlooOptions& options);
  absl::Status ConnectTo(const GlooOptions& options, int peer, const std::string& addresses);
  // Ends a ConnectTo that waits, and every later one. From another thread than theirs.
  void CutAll();
};

std::string GlooPairs::Impl::Listen(const GlooOptions& options) {
  const int ranks = options.tp * options.pp;
  context = device->createContext(options.rank, ranks);
  // Gloo gives a connection five times this; frames are read only once they have begun to come.
  const auto part = absl::ToInt64Milliseconds(options.timeout / 5);
  context->setTimeout(std::chrono::milliseconds(std::max<int64_t>(part, 100)));
  peers.resize(ranks);
  const size_t address_bytes = AddressBytes();
  std::string addresses(ranks * address_bytes, '\0');
  for (int r = 0; r < ranks; ++r) {
    if (r == options.rank) continue;
    Peer& peer = peers[r];
    auto& pair = context->createPair(r);
    peer.out.resize(kGlooFrameBytes);
    peer.in.resize(kGlooFrameBytes);
    peer.send = pair->createSendBuffer(kSlot, peer.out.data(), kGlooFrameBytes);
    peer.recv = pair->createRecvBuffer(kSlot, peer.in.data(), kGlooFrameBytes);
    const std::vector<char> bytes = pair->address().bytes();
    std::memcpy(&addresses[r * address_bytes], bytes.data(), std::min(bytes.size(), address_bytes));
  }
  return addresses;
}

absl::Status GlooPairs::Impl::ConnectTo(const GlooOptions& options, int peer,
                                        const std::string& addresses) {
  const size_t address_bytes = AddressBytes();
  const size_t expected = options.tp * options.pp * address_bytes;
  if (addresses.size() != expected) {
    return absl::FailedPreconditionError(absl::StrCat(
        "comm: gloo: rank ", peer, " gave ", addresses.size(), " bytes of addresses, not ",
        expected, ": it joins a group of another size or runs another version"));
  }
  const char* own = addresses.data() + options.rank * address_bytes;
  const std::vector<char> address(own, own + address_bytes);
  try {
    auto& pair = context->getPair(peer);
    pair->connect(address);
    pair->setSync(true, false);
    peers[peer].socket = DuplicateSocket(*pair);
  } catch (const std::exception& error) {
    return absl::DeadlineExceededError(
        absl::StrCat("comm: gloo: rank ", options.rank, " cannot connect to rank ", peer, " (",
                     error.what(), "); is --collective-interface a network that both reach?"));
  }
  if (peers[peer].socket < 0) {
    return absl::InternalError(
        absl::StrCat("comm: gloo: the socket to rank ", peer, " was not found in /proc/self/fd"));
  }
  setsockopt(peers[peer].socket, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
  return absl::OkStatus();
}

void GlooPairs::Impl::CutAll() {
  for (int r = 0; r < context->size; ++r) {
    if (r != context->rank) context->getPair(r)->close();
  }
}

GlooPairs::GlooPairs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GlooPairs::~GlooPairs() = default;

absl::StatusOr<std::unique_ptr<GlooPairs>> GlooPairs::Connect(const GlooOptions& options) {
  const absl::Time deadline = absl::Now() + options.timeout;
  IgnoreBrokenPipes();
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(impl->device, OpenDevice(options.interface));
  std::string own;
  try {
    own = impl->Listen(options);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("comm: gloo: cannot listen: ", error.what()));
  }
  Interrupter::Scope scope(options.interrupter,
                           [joining = impl.get()](const absl::Status&) { joining->CutAll(); });
  RETURN_IF_ERROR(options.store->Set(AddressKey(options.rank), own));
  ASSIGN_OR_RETURN(const std::vector<std::string> addresses, GetAll(options, AddressKey, deadline));
  for (int r = 0; r < options.tp * options.pp; ++r) {
    if (r == options.rank) continue;
    // One attempt may take as long as all of them together.
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("comm: gloo: rank ", options.rank,
                                                      " had no time left to connect to rank ", r));
    }
    RETURN_IF_ERROR(impl->ConnectTo(options, r, addresses[r]));
  }
  // Nobody writes before all read in synchronous mode: until then Gloo's own thread would read.
  RETURN_IF_ERROR(options.store->Set(ReadyKey(options.rank), "1"));
  RETURN_IF_ERROR(GetAll(options, ReadyKey, deadline).status());
  return std::unique_ptr<GlooPairs>(new GlooPairs(std::move(impl)));
}

int GlooPairs::size() const { return static_cast<int>(impl_->peers.size()); }
int GlooPairs::socket(int peer) const { return impl_->peers[peer].socket; }
absl::Span<std::byte> GlooPairs::outgoing(int peer) {
  return absl::MakeSpan(impl_->peers[peer].out);
}
absl::Span<const std::byte> GlooPairs::incoming(int peer) const { return impl_->peers[peer].in; }

size_t GlooPairs::room(int peer) const {
  // Linux counts its own bookkeeping in the buffer's size, and doubles what was asked for to pay
  // for it (socket(7), SO_SNDBUF).
  int size = 0, queued = 0;
  socklen_t bytes = sizeof(size);
  const int fd = impl_->peers[peer].socket;
  if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &bytes) != 0) return kGlooFrameBytes;
  if (ioctl(fd, SIOCOUTQ, &queued) != 0) return kGlooFrameBytes;
  return static_cast<size_t>(std::max(0, size / 2 - queued - kGlooHeaderBytes));
}

absl::Status GlooPairs::Send(int peer, size_t bytes) {
  Peer& p = impl_->peers[peer];
  try {
    p.send->send(0, bytes);
    p.send->waitSend();
  } catch (const std::exception& error) {
    return Gone(peer, error);
  }
  // Gloo fits the kernel's buffer to the largest frame so far; a frame of full size, sent first,
  // is followed by our own choice.
  if (bytes == kGlooFrameBytes) {
    setsockopt(p.socket, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes));
  }
  return absl::OkStatus();
}

absl::Status GlooPairs::Receive(int peer) {
  try {
    impl_->peers[peer].recv->waitRecv();
  } catch (const std::exception& error) {
    return Gone(peer, error);
  }
  return absl::OkStatus();
}

void GlooPairs::Cut(int peer) { shutdown(impl_->peers[peer].socket, SHUT_RDWR); }

}  // namespace tessera::worker
