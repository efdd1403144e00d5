// Lines that a person types.
#ifndef TESSERA_CLIENT_CLI_LINE_READER_H_
#define TESSERA_CLIENT_CLI_LINE_READER_H_

#include <filesystem>
#include <iosfwd>
#include <memory>
#include <string>

namespace tessera::client {

struct Line {
  enum class Kind { kText, kEnd, kInterrupted };
  Kind kind = Kind::kEnd;
  std::string text;  // without the line's end
};

// For one thread.
class LineReader {
 public:
  virtual ~LineReader() = default;
  // Shows `prompt` and blocks until a line, Ctrl-D (kEnd) or Ctrl-C (kInterrupted).
  virtual Line Read(const std::string& prompt) = 0;
  // Makes `line` available under the arrow keys.
  virtual void Remember(const std::string& line) = 0;
};

// Lines of a stream, without editing. Borrows the stream.
std::unique_ptr<LineReader> MakeStreamLineReader(std::istream& in);

// Lines of the terminal that is standard input, edited with libedit. Remembered lines are kept in
// `history_file` (mode 0600) if it is not empty; a file that cannot be used is no error.
std::unique_ptr<LineReader> MakeTerminalLineReader(const std::filesystem::path& history_file);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_LINE_READER_H_
