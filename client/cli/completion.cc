// Completion scripts for shells, made from the commands themselves.
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  source <(tessera completion bash)\n"
    "  tessera completion zsh > ~/.zfunc/_tessera\n"
    "  tessera completion fish > ~/.config/fish/completions/tessera.fish";

struct Flag {
  std::vector<std::string> names;  // with their dashes
  std::string description;
  bool takes_value = false;
};

struct Command {
  std::string name;
  std::string description;
  std::vector<Flag> flags;
};

std::vector<Flag> FlagsOf(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_group().empty()) continue;
    Flag& flag = flags.emplace_back();
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    flag.description = option->get_description();
    flag.takes_value = option->get_items_expected_max() > 0;
  }
  return flags;
}

std::vector<Command> CommandsOf(CLI::App& app) {
  std::vector<Command> commands;
  const std::vector<Flag> global = FlagsOf(app);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;
    Command& added = commands.emplace_back();
    added.name = command->get_name();
    added.description = command->get_description();
    added.flags = FlagsOf(*command);
    if (!command->get_fallthrough()) continue;
    for (const Flag& flag : global) {
      if (flag.takes_value) added.flags.push_back(flag);
    }
  }
  return commands;
}

std::string Words(const std::vector<Flag>& flags) {
  std::vector<std::string> words;
  for (const Flag& flag : flags) words.insert(words.end(), flag.names.begin(), flag.names.end());
  return absl::StrJoin(words, " ");
}

std::string Names(const std::vector<Command>& commands) {
  return absl::StrJoin(commands, " ", [](std::string* out, const Command& command) {
    absl::StrAppend(out, command.name);
  });
}

void PrintBash(const std::vector<Command>& commands, const std::vector<Flag>& global,
               std::ostream& out) {
  out << "# bash completion of tessera\n"
         "_tessera() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    case ${COMP_WORDS[i]} in\n"
         "      --target|--color) ((i++)) ;;\n"
         "      -*) ;;\n"
         "      *) command=${COMP_WORDS[i]}; break ;;\n"
         "    esac\n"
         "  done\n"
         "  case $command in\n"
         "    '') words='"
      << Names(commands) << " " << Words(global) << "' ;;\n";
  for (const Command& command : commands) {
    out << "    " << command.name << ") words='" << Words(command.flags) << "'";
    if (command.name == "serve") {
      out << "\n      words+=\" $(tessera-server --help 2>/dev/null | grep -oE -- "
             "'--[a-z][a-z0-9-]*')\"";
    }
    out << " ;;\n";
  }
  out << "  esac\n"
         "  if [[ $cur == -* || -z $command ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "  else\n"
         "    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _tessera tessera\n";
}

// Inside '...[...]' of zsh's _arguments.
std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text, {{"'", "'\\''"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

void PrintZshFlags(const std::vector<Flag>& flags, const std::string& indent, std::ostream& out) {
  for (const Flag& flag : flags) {
    for (const std::string& name : flag.names) {
      out << " \\\n"
          << indent << "'" << name << "[" << ZshText(flag.description) << "]"
          << (flag.takes_value ? ":value:_files" : "") << "'";
    }
  }
}

void PrintZsh(const std::vector<Command>& commands, const std::vector<Flag>& global,
              std::ostream& out) {
  out << "#compdef tessera\n"
         "_tessera() {\n"
         "  local context state state_descr line\n"
         "  typeset -A opt_args\n"
         "  local -a commands=(\n";
  for (const Command& command : commands) {
    out << "    '" << command.name << ":" << ZshText(command.description) << "'\n";
  }
  out << "  )\n"
         "  _arguments -C";
  PrintZshFlags(global, "    ", out);
  out << " \\\n    '1:command:->command' \\\n    '*::argument:->argument'\n"
         "  case $state in\n"
         "    command) _describe command commands ;;\n"
         "    argument)\n"
         "      case $words[1] in\n";
  for (const Command& command : commands) {
    out << "        " << command.name << ") _arguments";
    PrintZshFlags(command.flags, "          ", out);
    out << " \\\n          '*:file:_files' ;;\n";
  }
  out << "      esac ;;\n"
         "  esac\n"
         "}\n"
         "# Autoloaded from $fpath the file is the function; sourced it registers it.\n"
         "if [ \"$funcstack[1]\" = _tessera ]; then _tessera \"$@\"; else compdef _tessera "
         "tessera; fi\n";
}

std::string FishText(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

void PrintFishFlags(const std::vector<Flag>& flags, const std::string& condition,
                    std::ostream& out) {
  for (const Flag& flag : flags) {
    out << "complete -c tessera -n " << condition;
    for (const std::string& name : flag.names) {
      const bool is_long = name.rfind("--", 0) == 0;
      out << (is_long ? " -l " : " -s ") << name.substr(is_long ? 2 : 1);
    }
    out << (flag.takes_value ? " -r" : "") << " -d " << FishText(flag.description) << "\n";
  }
}

void PrintFish(const std::vector<Command>& commands, const std::vector<Flag>& global,
               std::ostream& out) {
  out << "# fish completion of tessera\n";
  PrintFishFlags(global, "__fish_use_subcommand", out);
  for (const Command& command : commands) {
    out << "complete -c tessera -n __fish_use_subcommand -f -a " << command.name << " -d "
        << FishText(command.description) << "\n";
    PrintFishFlags(command.flags, absl::StrCat("'__fish_seen_subcommand_from ", command.name, "'"),
                   out);
  }
}

int Run(CLI::App& app, const std::string& shell, std::ostream& out) {
  const auto commands = CommandsOf(app);
  const auto global = FlagsOf(app);
  if (shell == "bash") PrintBash(commands, global, out);
  if (shell == "zsh") PrintZsh(commands, global, out);
  if (shell == "fish") PrintFish(commands, global, out);
  out.flush();
  return kExitOk;
}

}  // namespace

void AddCompletion(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>();  // shared with the callback
  CLI::App* command = app.add_subcommand("completion", "Print the completion script of a shell");
  command->footer(kExamples);
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([&app, shell, &context] {
    context.action = [&app, shell, &context] { return Run(app, *shell, context.io.out); };
  });
}

}  // namespace tessera::client
