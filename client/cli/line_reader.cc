#include "client/cli/line_reader.h"

#include <fcntl.h>
#include <histedit.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
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
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistoryLines);
    history(history_, &event, H_SETUNIQUE, 1);
    if (!history_file_.empty()) history(history_, &event, H_LOAD, history_file_.c_str());
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &TerminalLineReader::Prompt);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_source(editor_, nullptr);
  }

  ~TerminalLineReader() override {
    SaveHistory();
    el_end(editor_);
    history_end(history_);
  }

  Line Read(const std::string& prompt) override {
    prompt_ = prompt;
    // Ctrl-C makes read() fail with EINTR, which ends el_gets.
    Interrupt interrupt([] {});
    int count = 0;
    const char* text = el_gets(editor_, &count);
    if (interrupt.happened()) {
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
};

}  // namespace

std::unique_ptr<LineReader> MakeStreamLineReader(std::istream& in) {
  return std::make_unique<StreamLineReader>(in);
}

std::unique_ptr<LineReader> MakeTerminalLineReader(const std::filesystem::path& history_file) {
  return std::make_unique<TerminalLineReader>(history_file);
}

}  // namespace tessera::client
