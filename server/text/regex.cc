#include "server/text/regex.h"

#include <oniguruma.h>

#include <mutex>

#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"

namespace tessera::server {
namespace {

// Entries of the backtrack stack (some 40 bytes each), and steps back of one search: a text of a
// few megabytes passes with any sane pattern, a pattern of exponential time ends in a fraction of a
// second.
constexpr unsigned int kMatchStackLimit = 4'000'000;
constexpr unsigned long kRetryLimit = 5'000'000;

std::string OnigMessage(int code, OnigErrorInfo* info) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = info == nullptr ? onig_error_code_to_str(buffer, code)
                                     : onig_error_code_to_str(buffer, code, info);
  return std::string(reinterpret_cast<const char*>(buffer), static_cast<size_t>(length));
}

const OnigUChar* Bytes(const char* p) { return reinterpret_cast<const OnigUChar*>(p); }

struct FreeRegion {
  void operator()(OnigRegion* region) const { onig_region_free(region, 1); }
};
struct FreeParam {
  void operator()(OnigMatchParam* param) const { onig_free_match_param(param); }
};

}  // namespace

void Regex::Free::operator()(re_pattern_buffer* regex) const { onig_free(regex); }

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  // The library's first use is not thread-safe.
  static std::once_flag initialized;
  std::call_once(initialized, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
    onig_set_warn_func(onig_null_warn);
    onig_set_verb_warn_func(onig_null_warn);
  });
  if (FindInvalidUtf8(pattern) != std::string_view::npos) {
    return absl::InvalidArgumentError("a regular expression is not UTF-8");
  }
  OnigRegex regex = nullptr;
  OnigErrorInfo info;
  const int code = onig_new(&regex, Bytes(pattern.data()), Bytes(pattern.data() + pattern.size()),
                            ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code != ONIG_NORMAL) {
    return absl::InvalidArgumentError(
        absl::StrCat("the regular expression '", absl::string_view(pattern.data(), pattern.size()),
                     "' does not compile: ", OnigMessage(code, &info)));
  }
  return Regex(regex);
}

absl::Status Regex::FindAll(std::string_view text,
                            absl::FunctionRef<void(size_t, size_t)> found) const {
  const std::unique_ptr<OnigRegion, FreeRegion> region(onig_region_new());
  const std::unique_ptr<OnigMatchParam, FreeParam> param(onig_new_match_param());
  onig_set_match_stack_limit_size_of_match_param(param.get(), kMatchStackLimit);
  onig_set_retry_limit_in_match_of_match_param(param.get(), kRetryLimit);
  onig_set_retry_limit_in_search_of_match_param(param.get(), kRetryLimit);
  const OnigUChar* begin = Bytes(text.data());
  const OnigUChar* end = begin + text.size();
  size_t pos = 0;
  size_t last_end = std::string_view::npos;
  while (pos <= text.size()) {
    const int at = onig_search_with_param(regex_.get(), begin, end, begin + pos, end, region.get(),
                                          ONIG_OPTION_NONE, param.get());
    if (at == ONIG_MISMATCH) return absl::OkStatus();
    if (at < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a pattern of the tokenizer cannot be searched in this text from byte ", pos,
                       " on: ", OnigMessage(at, nullptr)));
    }
    const auto match_begin = static_cast<size_t>(region->beg[0]);
    const auto match_end = static_cast<size_t>(region->end[0]);
    if (match_begin == match_end && match_end == last_end) {
      pos += pos < text.size() ? Utf8Length(static_cast<unsigned char>(text[pos])) : 1;
      continue;
    }
    pos = last_end = match_end;
    found(match_begin, match_end);
  }
  return absl::OkStatus();
}

std::string EscapeRegex(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~/ ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace tessera::server
