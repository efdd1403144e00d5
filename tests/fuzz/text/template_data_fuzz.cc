// Conversations from anywhere, through a template that takes them apart.
#include <string_view>

#include "server/text/chat_template.h"

namespace {

constexpr char kTemplate[] = R"({%- macro show(v, d=0) -%}
{%- if v is mapping -%}{% for k, x in v.items() %}{{ k }}={{ show(x, d + 1) }};{% endfor %}
{%- elif v is string -%}{{ v | trim }}{{ v[1:3] }}{{ v.split(' ') | join('_') }}{{ v | length }}
{%- elif v is iterable -%}{% for x in v %}{{ loop.index }}{{ show(x, d + 1) }}{% endfor %}
{%- else -%}{{ v }}{%- endif -%}{%- endmacro -%}
{%- for m in messages -%}<|{{ m.role }}|>{{ show(m) }}{{ m | tojson }}{{ m.content | string | upper }}{%- endfor -%}
{{ tools | tojson(indent=1) }}{{ '%s' | format(messages) }})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::server;  // NOLINT: one function
  static const auto made = ChatTemplate::Parse(kTemplate, {});
  if (!made.ok()) __builtin_trap();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = nlohmann::ordered_json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) return 0;
  ChatTemplate::Input input;
  input.messages = json.is_array() ? json : nlohmann::ordered_json::array({json});
  input.tools = json;
  if (json.is_object()) input.kwargs = json;
  (void)(*made)->Render(input);
  return 0;
}
