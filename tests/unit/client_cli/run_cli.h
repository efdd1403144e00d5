// The command line of `tessera` inside the test.
#ifndef TESSERA_TESTS_UNIT_CLIENT_CLI_RUN_CLI_H_
#define TESSERA_TESTS_UNIT_CLIENT_CLI_RUN_CLI_H_

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tessera::tests {

struct CliInput {
  std::string in;         // standard input
  bool terminal = false;  // in and out are one
  std::string target = "127.0.0.1:1";
  std::filesystem::path bin_dir = "/nonexistent/bin";
  // Called at every flush of standard output with all that was written so far.
  std::function<void(const std::string& out)> on_flush;
};

struct CliResult {
  int code = -1;
  std::string out;
  std::string err;
};

CliResult RunCli(std::vector<std::string> arguments, const CliInput& input = {});

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_UNIT_CLIENT_CLI_RUN_CLI_H_
