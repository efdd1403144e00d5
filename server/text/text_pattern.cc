#include "server/text/text_pattern.h"

#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {

absl::StatusOr<TextPattern> TextPattern::Expression(std::string_view expression) {
  TextPattern pattern;
  // Compiled in any case: what Oniguruma refuses is refused.
  ASSIGN_OR_RETURN(Regex regex, Regex::Compile(expression));
  pattern.classes_ = ClassPattern::Parse(expression);
  if (!pattern.classes_) pattern.regex_ = std::move(regex);
  return pattern;
}

absl::Status TextPattern::FindAll(std::string_view text,
                                  absl::FunctionRef<void(size_t, size_t)> found) const {
  if (classes_) return classes_->FindAll(text, found);
  if (regex_) return regex_->FindAll(text, found);
  if (literal_->empty()) {
    // An empty expression matches between all characters.
    for (size_t pos = 0; pos < text.size();
         pos += Utf8Length(static_cast<unsigned char>(text[pos]))) {
      found(pos, pos);
    }
    found(text.size(), text.size());
    return absl::OkStatus();
  }
  for (size_t pos = text.find(*literal_); pos != std::string_view::npos;
       pos = text.find(*literal_, pos)) {
    const size_t end = pos + literal_->size();
    found(pos, end);
    pos = end;
  }
  return absl::OkStatus();
}

}  // namespace tessera::server
