// What every command of `tessera` gets: its streams, its place on disk, its server.
#ifndef TESSERA_CLIENT_CLI_CONTEXT_H_
#define TESSERA_CLIENT_CLI_CONTEXT_H_

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/line_reader.h"
#include "client/lib/client.h"

namespace tessera::client {

// The outside world, so that a test can stand in for it. The streams are borrowed.
struct Io {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  int columns = 80;       // of the terminal
  bool no_color = false;  // as https://no-color.org asks for
  std::function<std::unique_ptr<LineReader>()> make_line_reader;
};

// One run of the command line; the main thread owns it.
struct Context {
  Io& io;
  std::filesystem::path bin_dir;        // where this executable stands
  std::string target;                   // of --target
  std::string color = "auto";           // of --color
  bool model_from_environment = false;  // TESSERA_MODEL or TESSERA_CONFIG, which the server reads
  std::function<int()> action;  // set by the subcommand that was named; returns the exit code

  bool use_color() const;
  // The server at `target`.
  absl::StatusOr<std::unique_ptr<Client>> Connect() const;
  // Prints the error and its hint; returns the exit code that says the same.
  int Fail(const absl::Status& status) const;
  int Fail(const absl::Status& status, const std::string& hint) const;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_CONTEXT_H_
