#include "client/cli/app.h"

#include <algorithm>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "proto/rpc/version.h"

namespace tessera::client {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done, 1 the request or check failed, 2 wrong usage, 3 no server answers,\n"
    "130 stopped by Ctrl-C.\n"
    "Examples:\n"
    "  tessera serve --tp 2\n"
    "  tessera complete 'Once upon a time' --max-tokens 64\n"
    "  tessera COMMAND --help";

void AddGlobalFlags(CLI::App& app, Context& context) {
  app.set_version_flag("--version", absl::StrCat("tessera ", std::string(rpc::Version())));
  app.add_option("--target", context.target, "The server: host:port or unix:/path")
      ->envname("TESSERA_TARGET")
      ->capture_default_str();
  app.add_option("--color", context.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

void AddCommands(CLI::App& app, Context& context) {
  AddServe(app, context);
  AddComplete(app, context);
  AddChat(app, context);
  AddStatus(app, context);
  AddTokenize(app, context);
  AddPlan(app, context);
  AddInspect(app, context);
  AddConvert(app, context);
  AddBench(app, context);
  AddDoctor(app, context);
  AddVerify(app, context);
  AddCompletion(app, context);
  AddReference(app, context);
  app.require_subcommand(1);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    // --target and --color may stand behind the command; flags that serve and verify do not know
    // are the server's.
    if (command->get_name() != "serve" && command->get_name() != "verify") command->fallthrough();
  }
}

int UsageError(const CLI::App& app, const CLI::ParseError& error, const Context& context) {
  std::string command = "tessera";
  for (const CLI::App* used : app.get_subcommands()) command += " " + used->get_name();
  context.io.err << "tessera: " << error.what() << "\nhint: `" << command
                 << " --help` shows what there is, with examples" << std::endl;
  return kExitUsage;
}

}  // namespace

int RunTessera(std::vector<std::string> arguments, Context& context) {
  CLI::App app("Serves sharded language models, and talks to the server.", "tessera");
  app.footer(kFooter);
  AddGlobalFlags(app, context);
  AddCommands(app, context);
  if (arguments.empty()) {
    context.io.out << app.help() << std::flush;
    return kExitUsage;
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(std::move(arguments));
  } catch (const CLI::Success& success) {
    app.exit(success, context.io.out, context.io.err);  // --help or --version
    context.io.out.flush();
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error, context);
  }
  return context.action();
}

}  // namespace tessera::client
