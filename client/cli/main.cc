// The `tessera` command: the place where the process's surroundings are read.
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/app.h"

namespace {

using tessera::client::Context;
using tessera::client::Io;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where the XDG base directory specification puts state that is no configuration.
std::filesystem::path HistoryFile() {
  std::filesystem::path state = Variable("XDG_STATE_HOME");
  if (state.empty()) {
    const std::string home = Variable("HOME");
    if (home.empty()) return {};
    state = std::filesystem::path(home) / ".local/state";
  }
  return state / "tessera/history";
}

int Columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  // A locale without UTF-8 would cut characters in the line editor.
  if (std::string_view(std::setlocale(LC_CTYPE, nullptr)) == "C") {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  Io io{.in = std::cin,
        .out = std::cout,
        .err = std::cerr,
        .in_is_terminal = isatty(STDIN_FILENO) == 1,
        .out_is_terminal = isatty(STDOUT_FILENO) == 1,
        .err_is_terminal = isatty(STDERR_FILENO) == 1,
        .columns = Columns(),
        .no_color = !Variable("NO_COLOR").empty(),
        .make_line_reader = [] { return tessera::client::MakeTerminalLineReader(HistoryFile()); }};
  std::error_code error;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", error);
  Context context{.io = io,
                  .bin_dir = executable.parent_path(),
                  .target = "127.0.0.1:8001",
                  .model_from_environment =
                      !Variable("TESSERA_MODEL").empty() || !Variable("TESSERA_CONFIG").empty()};
  return tessera::client::RunTessera(std::vector<std::string>(argv + 1, argv + argc), context);
}
