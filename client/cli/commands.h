// The commands of `tessera`, one source file each. Every function adds its command to `app`; where
// the command line names it, `context.action` is what it does.
#ifndef TESSERA_CLIENT_CLI_COMMANDS_H_
#define TESSERA_CLIENT_CLI_COMMANDS_H_

#include <CLI/App.hpp>

#include "client/cli/context.h"

namespace tessera::client {

void AddServe(CLI::App& app, Context& context);
void AddComplete(CLI::App& app, Context& context);
void AddChat(CLI::App& app, Context& context);
void AddStatus(CLI::App& app, Context& context);
void AddTokenize(CLI::App& app, Context& context);
void AddPlan(CLI::App& app, Context& context);
void AddInspect(CLI::App& app, Context& context);
void AddConvert(CLI::App& app, Context& context);
void AddBench(CLI::App& app, Context& context);
void AddDoctor(CLI::App& app, Context& context);
void AddVerify(CLI::App& app, Context& context);
void AddCompletion(CLI::App& app, Context& context);
// Hidden: prints client/COMMANDS.md.
void AddReference(CLI::App& app, Context& context);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_COMMANDS_H_
