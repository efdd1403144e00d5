// A server that only keeps a group alive: `group_holder RUNTIME_DIR COMM` starts two ranks, prints
// "ready" when they are, and goes on until it is killed.
#include <poll.h>

#include <iostream>

#include "tests/integration/session/group_harness.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  tessera::server::GroupOptions options = tessera::tests::DemoGroup(2, 1, argv[1]);
  options.comm = argv[2];
  tessera::tests::Group group(options);
  group.WaitReady();
  std::cout << "ready" << std::endl;
  poll(nullptr, 0, -1);
  return 0;
}
