#include "server/text/jinja_string.h"

#include <algorithm>

namespace tessera::server::jinja {

void Text::Append(std::string_view bytes, bool from_user) {
  if (from_user && !bytes.empty()) {
    const size_t begin = bytes_.size();
    if (!spans_.empty() && spans_.back().end == begin) {
      spans_.back().end += bytes.size();
    } else {
      spans_.push_back({begin, begin + bytes.size()});
    }
  }
  bytes_.append(bytes);
}

void Text::Append(const Text& other, size_t begin, size_t end) {
  const size_t shift = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  auto it = std::partition_point(other.spans_.begin(), other.spans_.end(),
                                 [begin](const Span& span) { return span.end <= begin; });
  for (; it != other.spans_.end() && it->begin < end; ++it) {
    const Span moved{std::max(it->begin, begin) - begin + shift,
                     std::min(it->end, end) - begin + shift};
    if (!spans_.empty() && spans_.back().end == moved.begin) {
      spans_.back().end = moved.end;
    } else {
      spans_.push_back(moved);
    }
  }
}

Text Text::Slice(size_t begin, size_t end) const {
  Text out;
  out.Append(*this, begin, end);
  out.markup_ = markup_;
  return out;
}

bool Text::FromUser(size_t at) const {
  const auto it = std::partition_point(spans_.begin(), spans_.end(),
                                       [at](const Span& span) { return span.end <= at; });
  return it != spans_.end() && it->begin <= at;
}

}  // namespace tessera::server::jinja
