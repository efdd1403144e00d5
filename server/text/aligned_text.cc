#include "server/text/aligned_text.h"

#include "server/text/byte_level.h"
#include "server/text/utf8.h"

namespace tessera::server {

Alignment TextView::Origin(size_t begin, size_t end) const {
  if (begin == end) {
    const auto at = static_cast<uint32_t>(alignment == nullptr  ? origin + begin
                                          : begin < text.size() ? alignment[begin].begin
                                          : begin > 0           ? alignment[begin - 1].end
                                                                : origin);
    return {at, at};
  }
  if (alignment != nullptr) return {alignment[begin].begin, alignment[end - 1].end};
  while (begin > 0 && IsUtf8Continuation(static_cast<unsigned char>(text[begin]))) --begin;
  while (end < text.size() && IsUtf8Continuation(static_cast<unsigned char>(text[end]))) ++end;
  return {static_cast<uint32_t>(origin + begin), static_cast<uint32_t>(origin + end)};
}

TextBuilder::TextBuilder(const TextView& source, bool keep_alignment, AlignedText* out)
    : source_(source), keep_alignment_(keep_alignment), out_(out) {
  out_->text.clear();
  out_->alignment.clear();
  out_->origin = source.OriginBegin();
  out_->text.reserve(source.text.size() + 16);
  if (keep_alignment) out_->alignment.reserve(source.text.size() + 16);
}

Alignment TextBuilder::At(size_t i) const {
  if (source_.alignment != nullptr) return source_.alignment[i];
  return source_.Origin(i, i + 1);
}

void TextBuilder::Replace(char32_t c) {
  const size_t before = out_->text.size();
  AppendUtf8(c, &out_->text);
  if (keep_alignment_) Align(before, At(position_));
  position_ += Utf8Length(static_cast<unsigned char>(source_.text[position_]));
}

void TextBuilder::Insert(char32_t c) {
  const size_t before = out_->text.size();
  AppendUtf8(c, &out_->text);
  if (!keep_alignment_) return;
  const auto start = static_cast<uint32_t>(source_.OriginBegin());
  Align(before, position_ == 0 ? Alignment{start, start} : At(position_ - 1));
}

void TextBuilder::Insert(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) Insert(NextChar(text, &pos));
}

void TextBuilder::Remove(size_t bytes) { position_ += bytes; }

void TextBuilder::Keep(size_t bytes) {
  out_->text.append(source_.text.substr(position_, bytes));
  if (keep_alignment_) {
    for (size_t i = position_; i < position_ + bytes; ++i) out_->alignment.push_back(At(i));
  }
  position_ += bytes;
}

void TextBuilder::ReplaceByBytes(size_t bytes) {
  const size_t before = out_->text.size();
  for (size_t i = 0; i < bytes; ++i) {
    AppendUtf8(ByteToChar(static_cast<unsigned char>(source_.text[position_ + i])), &out_->text);
  }
  if (keep_alignment_) Align(before, At(position_));
  position_ += bytes;
}

void PrependTo(const TextView& source, std::string_view prefix, bool keep_alignment,
               AlignedText* out) {
  TextBuilder builder(source, keep_alignment, out);
  out->text.append(prefix);
  if (keep_alignment) {
    out->alignment.assign(prefix.size(), source.Origin(0, source.text.empty() ? 0 : 1));
  }
  builder.Keep(source.text.size());
}

}  // namespace tessera::server
