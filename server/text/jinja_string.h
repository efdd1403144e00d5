// Strings of a template, which know which of their bytes came from the request.
#ifndef TESSERA_SERVER_TEXT_JINJA_STRING_H_
#define TESSERA_SERVER_TEXT_JINJA_STRING_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::server::jinja {

// UTF-8 with marks on the bytes that a user wrote. Every operation that takes bytes over takes
// their marks over. A value.
class Text {
 public:
  // Bytes [begin, end) of user text.
  struct Span {
    size_t begin, end;
  };

  Text() = default;
  explicit Text(std::string bytes, bool from_user = false) : bytes_(std::move(bytes)) {
    if (from_user && !bytes_.empty()) spans_.push_back({0, bytes_.size()});
  }

  const std::string& str() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Ascending, not touching each other.
  const std::vector<Span>& user_spans() const { return spans_; }

  void Append(std::string_view bytes, bool from_user = false);
  void Append(const Text& other) { Append(other, 0, other.size()); }
  // Bytes [begin, end) of other.
  void Append(const Text& other, size_t begin, size_t end);
  // `bytes` in the place of other's byte at `at`: with that byte's mark.
  void AppendLike(std::string_view bytes, const Text& other, size_t at) {
    Append(bytes, other.FromUser(at));
  }
  Text Slice(size_t begin, size_t end) const;
  // Markup, as the filters safe and escape make it: what is added to it is escaped.
  bool markup() const { return markup_; }
  Text& SetMarkup(bool on) {
    markup_ = on;
    return *this;
  }
  bool FromUser(size_t at) const;

 private:
  std::string bytes_;
  std::vector<Span> spans_;
  bool markup_ = false;
};

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_STRING_H_
