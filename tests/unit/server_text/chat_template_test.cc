#include "server/text/chat_template.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<Rendered> RenderSource(const std::string& source, Json messages = Json::array(),
                                      Json kwargs = Json::object()) {
  SpecialTokens tokens;
  tokens.bos_token = "<s>";
  auto made = ChatTemplate::Parse(source, tokens);
  if (!made.ok()) return made.status();
  ChatTemplate::Input input;
  input.messages = std::move(messages);
  input.kwargs = std::move(kwargs);
  return (*made)->Render(input);
}

std::string Text(const std::string& source, Json messages = Json::array(),
                 Json kwargs = Json::object()) {
  const auto rendered = RenderSource(source, std::move(messages), std::move(kwargs));
  return rendered.ok() ? rendered->text : rendered.status().ToString();
}

std::string Error(const std::string& source) {
  const auto rendered = RenderSource(source);
  return rendered.ok() ? "" : std::string(rendered.status().message());
}

TEST_CASE("expressions have Python's meaning") {
  CHECK(Text("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}") ==
        "3 -4 2 3.5 1024");
  CHECK(Text("{{ 1 + 2 * 3 }} {{ 'a' ~ 1 ~ none }} {{ 'ab' * 2 }}") == "7 a1None abab");
  CHECK(Text("{{ 1 < 2 < 3 }} {{ 2 in [1, 2] }} {{ 'b' not in 'abc' }}") == "True True False");
  CHECK(Text("{{ 'x' if false }}|{{ 'x' if false else 'y' }}") == "|y");
  CHECK(Text("{{ [1, 'a', none, true, 2.0, (1,)] }}") == "[1, 'a', None, True, 2.0, (1,)]");
  CHECK(Text("{{ {'a': 1, 'b': [\"it's\"]} }}") == "{'a': 1, 'b': [\"it's\"]}");
  CHECK(Text("{{ 1e16 }} {{ 0.1 }} {{ 1e-5 }} {{ 100.0 }}") == "1e+16 0.1 1e-05 100.0");
}

TEST_CASE("slices and indices count characters, from both ends") {
  CHECK(Text("{% set s = 'h\xC3\xA9llo' %}{{ s[1] }} {{ s[-1] }} {{ s[1:3] }} {{ s[::-1] }} {{ "
             "s[:-2] }}") == "\xC3\xA9 o \xC3\xA9l oll\xC3\xA9h h\xC3\xA9l");
  CHECK(Text("{{ [1, 2, 3, 4][1:] }} {{ [1, 2, 3][::2] }} {{ [1, 2, 3][-1] }}") ==
        "[2, 3, 4] [1, 3] 3");
  CHECK(Text("{{ 'abc'[5] is defined }} {{ [1][3] is defined }}") == "False False");
}

TEST_CASE("loops have their variables, conditions, else, break, continue and recursion") {
  CHECK(Text("{% for x in ['a', 'b', 'c'] %}{{ loop.index }}{{ x }}{{ loop.revindex0 }}"
             "{{ loop.first }}{{ loop.last }}{{ ' ' if not loop.last }}{% endfor %}") ==
        "1a2TrueFalse 2b1FalseFalse 3c0FalseTrue");
  CHECK(Text("{% for x in range(6) if x is even %}{{ x }}/{{ loop.length }} {% else %}none{% "
             "endfor %}") == "0/3 2/3 4/3 ");
  CHECK(Text("{% for x in [] %}{% else %}none{% endfor %}") == "none");
  CHECK(Text("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 4 %}{% "
             "break %}"
             "{% endif %}{{ x }}{% endfor %}") == "023");
  CHECK(Text("{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is not number else x }}{% "
             "endfor %}") == "123");
  CHECK(Text("{% for x in 'ab' %}{{ loop.cycle('odd', 'even') }}{{ loop.previtem | default('-') "
             "}}{% endfor %}") == "odd-evena");
  CHECK(Text("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}") == "a1b2");
}

TEST_CASE("what a loop sets is gone behind it, what a namespace holds is not") {
  CHECK(
      Text("{% set n = 0 %}{% set ns = namespace(n=0) %}{% for x in range(3) %}{% set n = n + 1 %}"
           "{% set ns.n = ns.n + 1 %}{{ n }}{% endfor %}|{{ n }}|{{ ns.n }}") == "111|0|3");
}

TEST_CASE("macros take defaults, names, extra arguments and callers") {
  CHECK(Text("{% macro m(a, b=2, c=b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=5) "
             "}}") == "122 125");
  CHECK(Text("{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, x=2) }}") ==
        "(1,){'x': 2}");
  CHECK(Text("{% macro m() %}[{{ caller('x') }}]{% endmacro %}{% call(a) m() %}<{{ a }}>{% endcall "
             "%}") == "[<x>]");
  CHECK_THAT(Error("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}"),
             Catch::Contains("takes 1 arguments"));
}

TEST_CASE("white space around tags follows trim_blocks, lstrip_blocks and the signs") {
  CHECK(Text("a\n  {% if true %}\nb\n  {% endif %}\nc\n") == "a\nb\nc");
  CHECK(Text("a  {%- if true -%}  b  {%- endif %} c") == "ab c");
  CHECK(Text("  {%+ if true %}x{% endif +%}\ny") == "  x\ny");
  CHECK(Text("  {{ 1 }}\n  {# gone #}\n{{- 2 }}") == "  1\n2");
  CHECK(Text("{% raw %}{{ x }}{% endraw %}") == "{{ x }}");
}

TEST_CASE("blocks that capture, filter and scope") {
  CHECK(Text("{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}") == "A1");
  CHECK(Text("{% set x | upper | trim %} ab {% endset %}{{ x }}") == "AB");
  CHECK(Text("{% filter upper %}a{% generation %}b{% endgeneration %}{% endfilter %}") == "AB");
  CHECK(Text("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}") == "3False");
}

TEST_CASE("filters give what Jinja's give") {
  CHECK(Text("{{ ['b', 'A', 'c'] | sort | join(',') }} {{ [3, 1, 2] | sort(reverse=true) }}") ==
        "A,b,c [3, 2, 1]");
  CHECK(Text("{{ 'a b' | title }} {{ 'hELLO' | capitalize }} {{ ' x ' | trim }}|") ==
        "A B Hello x|");
  CHECK(Text("{{ [{'r': 'x', 'n': 1}, {'r': 'y', 'n': 2}] | selectattr('r', 'equalto', 'y') | "
             "map(attribute='n') | list }}") == "[2]");
  CHECK(Text("{{ {'b': 1, 'a': 2} | dictsort }} {{ [1, 1, 2] | unique | list }}") ==
        "[('a', 2), ('b', 1)] [1, 2]");
  CHECK(Text("{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}") == "a\n  b|  a\n  b");
  CHECK(Text("{{ x | default('d') }} {{ '' | default('d', true) }} {{ '3' | int + 1 }} {{ 'z' | "
             "int(7) }}") == "d d 4 7");
  CHECK(Text("{{ '%s is %05.1f' | format('pi', 3.14159) }} {{ '%d%%' % 5 }} {{ "
             "'{:>4}|{0}'.format('a') }}") != "");
  CHECK(Text("{{ [1, 2, 3] | sum }} {{ [1, 5, 2] | max }} {{ 3.456 | round(2) }} {{ -3 | abs }}") ==
        "6 5 3.46 3");
  CHECK(Text("{{ [1, 2, 3, 4, 5] | batch(2) | list }}") == "[[1, 2], [3, 4], [5]]");
  CHECK(Text("{{ '<a href=\"x\">' | escape }}") == "&lt;a href=&#34;x&#34;&gt;");
}

TEST_CASE("tojson writes what transformers' does") {
  CHECK(Text("{{ x | tojson }}", Json::array(),
             Json::parse(R"({"x": {"b": [1, 2.5, null, true], "a": "<\u00e9\"\n>"}})")) ==
        "{\"b\": [1, 2.5, null, true], \"a\": \"<\xC3\xA9\\\"\\n>\"}");
  CHECK(Text("{{ [1, {'a': []}] | tojson(indent=2) }}") == "[\n  1,\n  {\n    \"a\": []\n  }\n]");
  CHECK(Text("{{ '\xC3\xA9' | tojson(ensure_ascii=true) }}") == "\"\\u00e9\"");
  CHECK_THAT(Error("{{ x | tojson }}"), Catch::Contains("cannot be written as JSON"));
}

TEST_CASE("undefined values print as nothing, and fail where they are used") {
  CHECK(Text("[{{ x }}]{{ x is defined }}{% for y in x %}{% endfor %}{{ x == y }}") ==
        "[]FalseTrue");
  CHECK_THAT(Error("{{ x.y }}"), Catch::Contains("'x' is undefined"));
  CHECK_THAT(Error("line\n{{ 1 + x }}"), Catch::Contains("line 2"));
  CHECK_THAT(Error("{{ x() }}"), Catch::Contains("undefined"));
}

TEST_CASE("templates cannot change values or reach behind them") {
  CHECK_THAT(Error("{{ [1].append(2) }}"), Catch::Contains("must not change"));
  CHECK_THAT(Error("{{ {}.update({'a': 1}) }}"), Catch::Contains("must not change"));
  CHECK_THAT(Error("{{ ''.__class__ }}"), Catch::Contains("not allowed"));
  CHECK_THAT(Error("{{ ''['__class__'] }}"), Catch::Contains("not allowed"));
}

TEST_CASE("syntax errors are refused at load with line and column") {
  for (const char* source :
       {"{% if %}", "{{ 1 + }}", "{% for x %}{% endfor %}", "{{ x", "{% endif %}",
        "{{ x | nothing }}", "{{ x is nothing }}", "{% include 'x' %}", "{{ 'abc }}", "{# never",
        "{% raw %}", "{{ ) }}", "{% break %}", "{% set 1 = 2 %}", "{{ f(a=1, 2) }}"}) {
    INFO(source);
    const auto made = ChatTemplate::Parse(source, {});
    REQUIRE_FALSE(made.ok());
    CHECK(absl::IsInvalidArgument(made.status()));
    CHECK_THAT(std::string(made.status().message()),
               Catch::Matches("given text: chat template 'default': line \\d+, column \\d+: .*",
                              Catch::CaseSensitive::Yes) ||
                   Catch::Contains("line 1, column"));
  }
}

TEST_CASE("work without end is refused") {
  for (const char* source :
       {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 9999999999 }}", "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = [ns.l] %}{% endfor "
        "%}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%999999999d' % 1 }}", "{{ 'x' | center(999999999999) }}"}) {
    INFO(source);
    const auto rendered = RenderSource(source);
    CHECK_FALSE(rendered.ok());
  }
}

TEST_CASE("a namespace that holds itself, and a macro in its own scope, are freed") {
  CHECK(
      Text(
          "{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ m }}{% endmacro %}ok") ==
      "ok");
}

TEST_CASE("bytes of the request are marked through every operation") {
  const Json messages = Json::parse(R"([{"role": "user", "content": "ab<x>cd"}])");
  const auto marked = [&](const std::string& expression) {
    const auto rendered = RenderSource("[{{ " + expression + " }}]", messages);
    REQUIRE(rendered.ok());
    std::string text;
    for (const Segment& segment : rendered->segments) {
      const std::string part = rendered->text.substr(segment.begin, segment.end - segment.begin);
      text += segment.from_user ? "(" + part + ")" : part;
    }
    return text;
  };
  CHECK(marked("messages[0].content") == "[(ab<x>cd)]");
  CHECK(marked("'<' + messages[0].content[2:5] ~ '>'") == "[<(<x>)>]");
  CHECK(marked("messages[0]['content'] | replace('<', '[') | upper") == "[(AB)[(X>CD)]");
  CHECK(marked("messages[0].content.split('<')[1] | trim") == "[(x>cd)]");
  CHECK(marked("messages[0].content | tojson") == "[\"(ab<x>cd)\"]");
  CHECK(marked("'%s-%s' % (messages[0].content, 1)") == "[(ab<x>cd)-1]");
  CHECK(marked("messages | map(attribute='content') | join('+')") == "[(ab<x>cd)]");
  // A role that the interface knows is no user text: templates build control tokens from it.
  CHECK(marked("'<|' + messages[0].role + '|>'") == "[<|user|>]");
}

TEST_CASE("variables of the request and the special tokens reach the template") {
  CHECK(Text("{{ bos_token }}{{ mode }}{{ tools is none }}{{ add_generation_prompt }}",
             Json::array(), Json::parse(R"({"mode": "fast"})")) == "<s>fastTrueTrue");
  CHECK_THAT(Error("{{ raise_exception('No roles!') }}"), Catch::Contains("No roles!"));
}

TEST_CASE("documents reach the template, and fields of the request cannot come by kwargs") {
  CHECK(Text("{{ documents is none }}") == "True");
  CHECK(Text("{{ documents[0].t }}", Json::array(), {{"documents", {{{"t", "x"}}}}}) == "x");
  for (const char* name : {"messages", "tools", "add_generation_prompt"}) {
    const auto status = RenderSource("x", Json::array(), {{name, Json::array()}}).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(status.message().find(name) != std::string::npos);
  }
}

// A model's folder with these files.
struct ModelFolder {
  void Write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder.path() / name).parent_path());
    std::ofstream(folder.path() / name) << text;
  }
  absl::StatusOr<std::unique_ptr<const ChatTemplate>> Load(const std::string& file = "") const {
    return ChatTemplate::Load(folder.path(), file);
  }
  // What is rendered without tools, with tools, and with documents.
  std::string Renders(const std::string& file = "") const {
    const auto made = Load(file);
    if (!made.ok()) return made.status().ToString();
    ChatTemplate::Input plain, tools, documents;
    tools.tools = Json::array({{{"type", "function"}}});
    documents.kwargs = {{"documents", Json::array()}};
    return (*made)->Render(plain)->text + "," + (*made)->Render(tools)->text + "," +
           (*made)->Render(documents)->text;
  }
  tests::TempDir folder;
};

TEST_CASE("templates come from the first source that a folder has") {
  ModelFolder model;
  CHECK(absl::IsNotFound(model.Load().status()));
  model.Write("tokenizer_config.json", R"({"chat_template": "config"})");
  CHECK(model.Renders() == "config,config,config");
  model.Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"},
      {"name": "rag", "template": "r"}]})");
  CHECK(model.Renders() == "d,t,r");
  model.Write("chat_template.json", R"({"chat_template": "json"})");
  CHECK(model.Renders() == "json,json,json");
  model.Write("chat_template.jinja", "jinja");
  CHECK(model.Renders() == "jinja,jinja,jinja");
  model.Write("additional_chat_templates/tool_use.jinja", "more");
  CHECK(model.Renders() == "jinja,more,jinja");
  model.Write("other.jinja", "other");
  CHECK(model.Renders((model.folder.path() / "other.jinja").string()) == "other,other,other");
  CHECK_FALSE(model.Load("/nonexistent.jinja").ok());
}

TEST_CASE("a source that cannot be parsed is refused with its file, line and column") {
  ModelFolder model;
  model.Write("chat_template.jinja", "a\n{% if %}");
  const auto status = model.Load().status();
  CHECK(absl::IsInvalidArgument(status));
  CHECK_THAT(std::string(status.message()),
             Catch::Contains("chat_template.jinja") && Catch::Contains("line 2"));
}

}  // namespace
}  // namespace tessera::server
