#include "server/text/chat_template.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_parser.h"
#include "server/text/tokenizer_files.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

using Variables = std::vector<std::pair<std::string, jinja::Value>>;
using Sources = std::map<std::string, std::string>;

constexpr char kDefault[] = "default";
constexpr char kToolUse[] = "tool_use";
constexpr char kRag[] = "rag";
constexpr char kDocuments[] = "documents";
// No template in use is a tenth as long.
constexpr size_t kMaxSource = 1024 * 1024;

struct Named {
  std::string source;
  jinja::Body body;
};

// The special tokens that are there, under the names that transformers gives them.
Variables TokenVariables(const SpecialTokens& tokens) {
  Variables variables;
  const std::pair<const char*, const std::string*> names[] = {
      {"bos_token", &tokens.bos_token},  {"eos_token", &tokens.eos_token},
      {"unk_token", &tokens.unk_token},  {"pad_token", &tokens.pad_token},
      {"sep_token", &tokens.sep_token},  {"cls_token", &tokens.cls_token},
      {"mask_token", &tokens.mask_token}};
  for (const auto& [name, token] : names) {
    if (!token->empty()) variables.emplace_back(name, jinja::Value::String(*token));
  }
  std::vector<jinja::Value> more;
  for (const std::string& token : tokens.additional) more.push_back(jinja::Value::String(token));
  if (auto list = jinja::Value::Sequence(jinja::Value::Kind::kList, std::move(more)); list.ok()) {
    if (!tokens.additional.empty()) variables.emplace_back("additional_special_tokens", *list);
  }
  return variables;
}

Rendered ToRendered(const jinja::Text& text) {
  Rendered rendered;
  rendered.text = text.str();
  size_t at = 0;
  for (const jinja::Text::Span& span : text.user_spans()) {
    if (at < span.begin) rendered.segments.push_back({at, span.begin, false});
    rendered.segments.push_back({span.begin, span.end, true});
    at = span.end;
  }
  if (at < text.size()) rendered.segments.push_back({at, text.size(), false});
  return rendered;
}

class JinjaChatTemplate : public ChatTemplate {
 public:
  explicit JinjaChatTemplate(SpecialTokens tokens) : tokens_(std::move(tokens)) {}

  absl::Status Add(const std::string& name, const std::string& source, std::string_view where) {
    if (source.size() > kMaxSource) {
      return absl::InvalidArgumentError(absl::StrCat(absl::string_view(where.data(), where.size()),
                                                     ": the chat template has ", source.size(),
                                                     " bytes; at most ", kMaxSource, " are read"));
    }
    absl::StatusOr<jinja::Body> body = jinja::Parse(source);
    if (!body.ok()) {
      return Annotate(body.status(), absl::StrCat(absl::string_view(where.data(), where.size()),
                                                  ": chat template '", name, "'"));
    }
    templates_[name] = {source, *std::move(body)};
    return absl::OkStatus();
  }

  absl::StatusOr<Rendered> Render(const Input& input) const override {
    ASSIGN_OR_RETURN(const Named* chosen, Choose(input));
    Variables variables = TokenVariables(tokens_);
    RETURN_IF_ERROR(AddInput(input, &variables));
    jinja::Interpreter interpreter(TemplateLimits(), input.now);
    absl::StatusOr<jinja::Text> text = interpreter.Run(chosen->body, std::move(variables));
    if (!text.ok()) return Annotate(text.status(), "the chat template refuses this conversation");
    return ToRendered(*text);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, named] : templates_) names.push_back(name);
    return names;
  }
  const std::string& source(const std::string& name) const override {
    static const std::string none;
    const auto it = templates_.find(name);
    return it == templates_.end() ? none : it->second.source;
  }

 private:
  absl::StatusOr<const Named*> Choose(const Input& input) const {
    std::string name = input.template_name;
    if (name.empty()) {
      name = kDefault;
      if (input.kwargs.contains(kDocuments) && templates_.count(kRag) > 0) name = kRag;
      if (!input.tools.is_null() && templates_.count(kToolUse) > 0) name = kToolUse;
    }
    const auto it = templates_.find(name);
    if (it != templates_.end()) return &it->second;
    std::string known;
    for (const auto& [other, named] : templates_) absl::StrAppend(&known, " '", other, "'");
    return absl::NotFoundError(
        absl::StrCat("there is no chat template '", name, "'; the model has", known));
  }

  static absl::Status AddInput(const Input& input, Variables* variables) {
    const auto add = [variables](const std::string& name, jinja::Value value) {
      for (auto& [known, old] : *variables) {
        if (known != name) continue;
        old = std::move(value);
        return;
      }
      variables->emplace_back(name, std::move(value));
    };
    ASSIGN_OR_RETURN(jinja::Value messages, jinja::FromJson(input.messages));
    ASSIGN_OR_RETURN(jinja::Value tools, jinja::FromJson(input.tools));
    if (!input.kwargs.is_object() && !input.kwargs.is_null()) {
      return absl::InvalidArgumentError("chat_template_kwargs must be an object");
    }
    add(kDocuments, jinja::Value::None());
    for (const auto& [name, json] : input.kwargs.items()) {
      if (name == "messages" || name == "tools" || name == "add_generation_prompt") {
        return absl::InvalidArgumentError(absl::StrCat(
            "chat_template_kwargs: '", name, "' is a field of the request itself; set it there"));
      }
      ASSIGN_OR_RETURN(jinja::Value value, jinja::FromJson(json));
      add(name, std::move(value));
    }
    add("messages", std::move(messages));
    add("tools", std::move(tools));
    add("add_generation_prompt", jinja::Value::Bool(input.add_generation_prompt));
    return absl::OkStatus();
  }

  SpecialTokens tokens_;
  std::map<std::string, Named> templates_;
};

// A field "chat_template": a string, or a list of named ones.
absl::Status ReadField(const nlohmann::json& config, Sources* sources) {
  if (!config.is_object() || !config.contains("chat_template")) return absl::OkStatus();
  const nlohmann::json& field = config["chat_template"];
  if (field.is_string()) {
    (*sources)[kDefault] = field.get<std::string>();
    return absl::OkStatus();
  }
  if (field.is_object()) {
    for (const auto& [name, source] : field.items()) {
      if (source.is_string()) (*sources)[name] = source.get<std::string>();
    }
    return absl::OkStatus();
  }
  if (!field.is_array()) return absl::OkStatus();
  for (const nlohmann::json& item : field) {
    const bool named = item.is_object() && item.contains("name") && item["name"].is_string() &&
                       item.contains("template") && item["template"].is_string();
    if (!named) {
      return absl::InvalidArgumentError(
          "chat_template: an entry of the list must have a 'name' and a 'template'");
    }
    (*sources)[item["name"].get<std::string>()] = item["template"].get<std::string>();
  }
  return absl::OkStatus();
}

// False where the file is not there.
absl::StatusOr<bool> ReadJsonSource(const std::filesystem::path& path, Sources* sources) {
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (absl::IsNotFound(text.status())) return false;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(*text, path.string()));
  const absl::Status read = ReadField(config, sources);
  if (!read.ok()) return Annotate(read, path.string());
  return true;
}

absl::Status ReadAdditional(const std::filesystem::path& folder, Sources* sources) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".jinja") continue;
    ASSIGN_OR_RETURN((*sources)[entry.path().stem().string()], ReadTextFile(entry.path()));
  }
  return absl::OkStatus();
}

// The templates of a folder, and the file that the default one comes from.
absl::StatusOr<Sources> ReadSources(const std::filesystem::path& dir, std::string* where) {
  Sources sources;
  const absl::StatusOr<std::string> jinja = ReadTextFile(dir / "chat_template.jinja");
  if (!jinja.ok() && !absl::IsNotFound(jinja.status())) return jinja.status();
  if (jinja.ok()) {
    *where = (dir / "chat_template.jinja").string();
    sources[kDefault] = *jinja;
    RETURN_IF_ERROR(ReadAdditional(dir / "additional_chat_templates", &sources));
    return sources;
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    *where = (dir / name).string();
    RETURN_IF_ERROR(ReadJsonSource(dir / name, &sources).status());
    if (!sources.empty()) return sources;
  }
  return absl::NotFoundError(absl::StrCat(dir.string(), ": the model has no chat template"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const ChatTemplate>> ChatTemplate::Parse(
    std::string_view source, const SpecialTokens& tokens) {
  auto made = std::make_unique<JinjaChatTemplate>(tokens);
  RETURN_IF_ERROR(made->Add(kDefault, std::string(source), "given text"));
  return made;
}

absl::StatusOr<std::unique_ptr<const ChatTemplate>> ChatTemplate::Load(
    const std::filesystem::path& model_dir, const std::string& override_file) {
  ASSIGN_OR_RETURN(const SpecialTokens tokens, ReadSpecialTokens(model_dir));
  auto made = std::make_unique<JinjaChatTemplate>(tokens);
  if (!override_file.empty()) {
    ASSIGN_OR_RETURN(const std::string source, ReadTextFile(override_file));
    RETURN_IF_ERROR(made->Add(kDefault, source, override_file));
    return made;
  }
  std::string where;
  ASSIGN_OR_RETURN(const Sources sources, ReadSources(model_dir, &where));
  for (const auto& [name, source] : sources) RETURN_IF_ERROR(made->Add(name, source, where));
  return made;
}

absl::StatusOr<std::vector<uint32_t>> EncodeRendered(const Tokenizer& tokenizer,
                                                     const Rendered& rendered,
                                                     bool parse_special_in_user) {
  std::vector<ByteRange> plain;
  for (const Segment& segment : rendered.segments) {
    if (segment.from_user && !parse_special_in_user) plain.push_back({segment.begin, segment.end});
  }
  return tokenizer.EncodeGuarded(rendered.text, false, plain);
}

}  // namespace tessera::server
