// Chat templates: a conversation to the text of a prompt, as transformers renders it.
#ifndef TESSERA_SERVER_TEXT_CHAT_TEMPLATE_H_
#define TESSERA_SERVER_TEXT_CHAT_TEMPLATE_H_

#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

// A stretch [begin, end) of a rendered text; `from_user`: its bytes were copied from the messages,
// the tools or the kwargs of the request rather than written by the template.
struct Segment {
  size_t begin, end;
  bool from_user;
};

struct Rendered {
  std::string text;
  std::vector<Segment> segments;  // ascending, without gaps, neighbours differ in from_user
};

// What a template may use at most; a render that needs more is refused (RESOURCE_EXHAUSTED).
struct TemplateLimits {
  size_t max_steps = 5'000'000;           // evaluated nodes and bytes of strings made, roughly
  size_t max_output = 32 * 1024 * 1024;   // bytes
  int max_depth = 200;                    // nested calls and expressions
  size_t max_memory = 256 * 1024 * 1024;  // bytes of strings and lists made, in all
};

// One or several named templates (default, tool_use, rag). Immutable; thread-safe.
class ChatTemplate {
 public:
  struct Input {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    nlohmann::ordered_json tools;  // null: none
    // Further variables, "documents" among them.
    nlohmann::ordered_json kwargs = nlohmann::ordered_json::object();
    bool add_generation_prompt = true;
    std::tm now = {};  // local time that strftime_now sees
    // Empty: tool_use where tools are given, rag where documents are, if there is one; else
    // default.
    std::string template_name;
  };

  // The templates of a checkpoint: `override_file` where it is not empty; else
  // chat_template.jinja with additional_chat_templates/*.jinja, chat_template.json,
  // tokenizer_config.json. NOT_FOUND where there is none. A template that cannot be parsed is
  // INVALID_ARGUMENT with its line and column.
  static absl::StatusOr<std::unique_ptr<const ChatTemplate>> Load(
      const std::filesystem::path& model_dir, const std::string& override_file);
  static absl::StatusOr<std::unique_ptr<const ChatTemplate>> Parse(std::string_view source,
                                                                   const SpecialTokens& tokens);

  virtual ~ChatTemplate() = default;

  // INVALID_ARGUMENT with the template's message where it calls raise_exception, and with line and
  // cause where an undefined value is used or types do not fit.
  virtual absl::StatusOr<Rendered> Render(const Input& input) const = 0;
  virtual std::vector<std::string> names() const = 0;
  virtual const std::string& source(const std::string& name) const = 0;
};

// The ids of a rendered prompt, without the post-processor's special tokens (the template writes
// its own). Control tokens are found only where the template wrote all of their bytes, so that a
// message cannot forge one; `parse_special_in_user`: found everywhere.
absl::StatusOr<std::vector<uint32_t>> EncodeRendered(const Tokenizer& tokenizer,
                                                     const Rendered& rendered,
                                                     bool parse_special_in_user = false);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_CHAT_TEMPLATE_H_
