#include <signal.h>

#include <cstdio>
#include <utility>
#include <variant>

#include "server/app/end_request.h"
#include "server/app/flags.h"
#include "server/app/list_kernels.h"
#include "server/app/logging.h"
#include "server/app/serve.h"

int main(int argc, char** argv) {
  using namespace tessera::server;
  auto flags = ParseFlags(argc, argv);
  if (const auto* exit = std::get_if<FlagsExit>(&flags)) {
    std::fputs(exit->text.c_str(), exit->code == 0 ? stdout : stderr);
    return exit->code;
  }
  if (std::holds_alternative<ListKernels>(flags)) return ListKernelSets();
  auto& options = std::get<ServerOptions>(flags);
  signal(SIGPIPE, SIG_IGN);
  BlockEndSignals();
  SetUpLogging(options.log_level, options.log_format);
  return Serve(std::move(options));
}
