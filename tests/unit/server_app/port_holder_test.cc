#include "server/app/port_holder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

TEST_CASE("the process that listens on a port is found, and nobody where none does") {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  socklen_t length = sizeof(address);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  int port = ntohs(address.sin_port);
  CHECK(FindPortHolder(port) == "");  // bound, but nobody listens
  REQUIRE(listen(listener, 1) == 0);
  CHECK(FindPortHolder(port) == "process " + std::to_string(getpid()) + " (server_app_test)");
  close(listener);
  CHECK(FindPortHolder(port) == "");
}

}  // namespace
}  // namespace tessera::server
