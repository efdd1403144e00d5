#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <stdlib.h>

int main(int argc, char** argv) {
  // Programs that a test starts leave nothing in the user's cache folder.
  setenv("TESSERA_CACHE_DIR", "none", 0);
  return Catch::Session().run(argc, argv);
}
