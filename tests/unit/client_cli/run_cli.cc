#include "tests/unit/client_cli/run_cli.h"

#include <sstream>
#include <utility>

#include "client/cli/app.h"

namespace tessera::tests {
namespace {

class FlushBuffer : public std::stringbuf {
 public:
  explicit FlushBuffer(const CliInput& input) : input_(input) {}

 protected:
  int sync() override {
    if (input_.on_flush) input_.on_flush(str());
    return 0;
  }

 private:
  const CliInput& input_;
};

}  // namespace

CliResult RunCli(std::vector<std::string> arguments, const CliInput& input) {
  std::istringstream in(input.in);
  FlushBuffer out_buffer(input);
  std::ostream out(&out_buffer);
  std::ostringstream err;
  client::Io io{.in = in,
                .out = out,
                .err = err,
                .in_is_terminal = input.terminal,
                .out_is_terminal = input.terminal,
                .err_is_terminal = input.terminal,
                .columns = 80,
                .no_color = true,
                .make_line_reader = [&in] { return client::MakeStreamLineReader(in); }};
  client::Context context{.io = io, .bin_dir = input.bin_dir, .target = input.target};
  CliResult result;
  result.code = client::RunTessera(std::move(arguments), context);
  result.out = out_buffer.str();
  result.err = err.str();
  return result;
}

}  // namespace tessera::tests
