#include "client/cli/line_reader.h"

#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cwchar>
#include <istream>
#include <utility>

#include "client/cli/interrupt.h"

namespace tessera::client {
namespace {

constexpr int kHistoryLines = 1000;

class StreamLineReader : public LineReader {
 public:
  explicit StreamLineReader(std::istream& in) : in_(in) {}

  Line Read(const std::string& prompt) override {
    (void)prompt;  // nobody sees it
    Line line;
    if (std::getline(in_, line.text)) line.kind = Line::Kind::kText;
    return line;
  }

  void Remember(const std::string& line) override { (void)line; }

 private:
  std::istream& in_;
};

class TerminalLineReader : public LineReader {
 public:
  explicit TerminalLineReader(std::filesystem::path history_file)
      : history_file_(std::move(history_file)),
        history_(history_init()),
        editor_(el_init("tessera", stdin, stdout, stderr)) {
    if (pipe2(wake_, O_CLOEXEC) != 0) wake_[0] = wake_[1] = -1;
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryLines);
    history(history_, &event, H_SETUNIQUE, 1);
    if (!history_file_.empty()) history(history_, &event, H_LOAD, history_file_.c_str());
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &TerminalLineReader::Prompt);
    el_set(editor_, EL_GETCFN, &TerminalLineReader::ReadCharacter);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(editor_, nullptr);
  }

  ~TerminalLineReader() override {
    SaveHistory();
    el_end(editor_);
    history_end(history_);
    if (wake_[0] >= 0) close(wake_[0]);
    if (wake_[1] >= 0) close(wake_[1]);
  }

  Line Read(const std::string& prompt) override {
    prompt_ = prompt;
    if (wake_[1] < 0) return {.kind = Line::Kind::kEnd};
    interrupted_ = false;
    Interrupt interrupt([this] { [[maybe_unused]] ssize_t n = write(wake_[1], "", 1); });
    int count = 0;
    const char* text = el_gets(editor_, &count);
    if (interrupted_) {
      el_reset(editor_);
      std::fputs("\n", stdout);
      return {.kind = Line::Kind::kInterrupted};
    }
    if (text == nullptr || count <= 0) return {.kind = Line::Kind::kEnd};
    Line line{.kind = Line::Kind::kText, .text = std::string(text, count)};
    if (line.text.back() == '\n') line.text.pop_back();
    return line;
  }

  void Remember(const std::string& line) override {
    HistEvent event;
    history(history_, &event, H_ENTER, line.c_str());
  }

 private:
  static char* Prompt(EditLine* editor) {
    TerminalLineReader* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt_.data();
  }

  // The editor's source of characters: standard input, until Ctrl-C.
  static int ReadCharacter(EditLine* editor, wchar_t* character) {
    TerminalLineReader* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    std::mbstate_t state{};
    while (true) {
      pollfd polled[2] = {{STDIN_FILENO, POLLIN, 0}, {self->wake_[0], POLLIN, 0}};
      if (poll(polled, 2, -1) < 0) continue;  // EINTR
      char byte = 0;
      if (polled[1].revents != 0) {
        self->interrupted_ = read(self->wake_[0], &byte, 1) == 1;
        return -1;
      }
      const ssize_t count = read(STDIN_FILENO, &byte, 1);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return static_cast<int>(count);
      const size_t bytes = std::mbrtowc(character, &byte, 1, &state);
      if (bytes <= 1) return 1;
      if (bytes == static_cast<size_t>(-1)) state = {};  // no character: dropped
    }
  }

  void SaveHistory() {
    if (history_file_.empty()) return;
    std::error_code ignored;
    std::filesystem::create_directories(history_file_.parent_path(), ignored);
    int file = open(history_file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    close(file);
    HistEvent event;
    history(history_, &event, H_SAVE, history_file_.c_str());
  }

  const std::filesystem::path history_file_;
  History* const history_;  // owned
  EditLine* const editor_;  // owned
  std::string prompt_;
  int wake_[2] = {-1, -1};    // Ctrl-C writes, ReadCharacter reads
  bool interrupted_ = false;  // the line that is being read
};

}  // namespace

std::unique_ptr<LineReader> MakeStreamLineReader(std::istream& in) {
  return std::make_unique<StreamLineReader>(in);
}

std::unique_ptr<LineReader> MakeTerminalLineReader(const std::filesystem::path& history_file) {
  return std::make_unique<TerminalLineReader>(history_file);
}

}  // namespace tessera::client
