#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <stdlib.h>

#ifdef __SANITIZE_THREAD__
// Abseil is not instrumented: that the last holder of a Status is the one to free it does not show.
extern "C" const char* __tsan_default_suppressions() { return "race:absl::*::Status::Unref"; }
#endif

int main(int argc, char** argv) {
  // Programs that a test starts leave nothing in the user's cache folder.
  setenv("TESSERA_CACHE_DIR", "none", 0);
  return Catch::Session().run(argc, argv);
}
