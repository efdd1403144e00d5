// Prints SUPPORT.md: support_table > shard_loader/SUPPORT.md
#include <cstdio>

#include "shard_loader/load/support.h"

int main() {
  std::fputs(tessera::shard_loader::SupportMarkdown().c_str(), stdout);
  return 0;
}
