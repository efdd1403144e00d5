#include "client/cli/serve.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/serve_on_terminal.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Every flag is handed to tessera-server; `tessera-server --help` and server/FLAGS.md list "
    "them.\n"
    "Examples:\n"
    "  tessera serve\n"
    "  tessera serve --model ./Llama-3.2-1B-Instruct --tp 2 --grpc-port 8001\n"
    "  tessera serve --config /etc/tessera/tessera.conf";

// From build/<preset>/bin to the source tree.
constexpr int kLevelsToSource = 3;

bool Has(const std::vector<std::string>& arguments, const std::string& flag) {
  return std::find(arguments.begin(), arguments.end(), flag) != arguments.end();
}

// The server's arguments: the user's, and the bundled model where nothing names another one.
absl::StatusOr<std::vector<std::string>> ServerArguments(std::vector<std::string> arguments,
                                                         const Context& context) {
  if (Has(arguments, "--help") || Has(arguments, "-h") || Has(arguments, "--version") ||
      context.model_from_environment || FlagValue(arguments, "--model")) {
    return arguments;
  }
  const auto config = FlagValue(arguments, "--config");
  if (config && ConfigNamesModel(*config)) return arguments;
  ASSIGN_OR_RETURN(auto model, FindBundledModel(context.bin_dir));
  arguments.push_back("--model");
  arguments.push_back(model.string());
  return arguments;
}

int Run(std::vector<std::string> given, const Context& context) {
  const auto model = FlagValue(given, "--model");
  if (model && LooksLikeHubName(*model)) {
    return context.Fail(absl::NotFoundError(absl::StrCat("--model ", *model, ": no such folder")),
                        DownloadHint(*model));
  }
  auto arguments = ServerArguments(std::move(given), context);
  if (!arguments.ok()) return context.Fail(arguments.status(), "name a model with --model DIR");

  const std::string server = (context.bin_dir / "tessera-server").string();
  if (access(server.c_str(), X_OK) != 0) {
    return context.Fail(
        absl::NotFoundError(absl::StrCat("cannot run ", server, ": ", std::strerror(errno))),
        "tessera-server stands beside tessera in an installation; build or install it");
  }
  if (context.io.err_is_terminal) {
    arguments->insert(arguments->begin(), server);
    auto code = ServeOnTerminal(*arguments, context);
    return code.ok() ? *code : context.Fail(code.status());
  }
  std::vector<char*> argv = {const_cast<char*>(server.c_str())};
  for (std::string& argument : *arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(server.c_str(), argv.data());
  return context.Fail(
      absl::InternalError(absl::StrCat("cannot run ", server, ": ", std::strerror(errno))));
}

}  // namespace

absl::StatusOr<std::filesystem::path> FindBundledModel(const std::filesystem::path& bin_dir) {
  std::error_code error;
  const auto is_model = [&error](const std::filesystem::path& dir) {
    return std::filesystem::exists(dir / "config.json", error);
  };
  const auto installed = bin_dir.parent_path() / "share/tessera/models/demo/model";
  if (is_model(installed)) return installed;
  std::filesystem::path above = bin_dir;
  for (int level = 0; level < kLevelsToSource; ++level) {
    above = above.parent_path();
    const auto in_source = above / "deploy/models/demo/model";
    if (is_model(in_source)) return in_source;
  }
  return absl::NotFoundError(absl::StrCat("the bundled model is not at ", installed.string()));
}

std::optional<std::string> FlagValue(const std::vector<std::string>& arguments,
                                     const std::string& name) {
  std::optional<std::string> value;
  const std::string with_equals = name + "=";
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == name && i + 1 < arguments.size()) value = arguments[i + 1];
    if (arguments[i].rfind(with_equals, 0) == 0) value = arguments[i].substr(with_equals.size());
  }
  return value;
}

bool ConfigNamesModel(const std::filesystem::path& config) {
  std::ifstream in(config);
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> halves = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (halves.size() == 2 && absl::StripAsciiWhitespace(halves[0]) == "model") return true;
  }
  return false;
}

bool LooksLikeHubName(const std::string& model) {
  std::error_code error;
  if (std::filesystem::exists(model, error)) return false;
  const auto in_name = [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  };
  const size_t slash = model.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == model.size()) return false;
  if (model[0] == '.') return false;
  return std::all_of(model.begin(), model.begin() + slash, in_name) &&
         std::all_of(model.begin() + slash + 1, model.end(), in_name);
}

std::string DownloadHint(const std::string& model) {
  const std::string folder = model.substr(model.find('/') + 1);
  return absl::StrCat(
      "models are folders here; if this is a name on the Hugging Face hub, "
      "download it first: hf download ",
      model, " --local-dir ", folder, ", then --model ", folder);
}

void AddServe(CLI::App& app, Context& context) {
  CLI::App* command =
      app.add_subcommand("serve", "Start a server; without --model it serves the bundled one");
  command->footer(kExamples);
  command->prefix_command();
  command->callback([command, &context] {
    context.action = [arguments = command->remaining(), &context] {
      return Run(arguments, context);
    };
  });
}

}  // namespace tessera::client
