// client/COMMANDS.md, made from the commands themselves.
#include <ostream>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"

namespace tessera::client {
namespace {

void PrintHelp(const std::string& title, const std::string& help, std::ostream& out) {
  out << "\n## " << title << "\n\n```\n" << help;
  if (!help.empty() && help.back() != '\n') out << "\n";
  out << "```\n";
}

int Run(CLI::App& app, std::ostream& out) {
  out << "# Commands of `tessera`\n\n"
         "Made by `tessera reference > client/COMMANDS.md`; a test compares.\n";
  PrintHelp("tessera", app.help(), out);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;
    PrintHelp("tessera " + command->get_name(), command->help("tessera"), out);
  }
  out.flush();
  return kExitOk;
}

}  // namespace

void AddReference(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("reference", "Print the manual of all commands");
  command->group("");
  command->callback(
      [&app, &context] { context.action = [&app, &context] { return Run(app, context.io.out); }; });
}

}  // namespace tessera::client
