#include "server/text/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "server/text/utf8.h"

namespace tessera::server {
namespace {

bool Composes(UnicodeForm form) { return form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc; }
bool Compatible(UnicodeForm form) {
  return form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd;
}

bool IsHangulSyllable(char32_t c) { return c >= 0xAC00 && c <= 0xD7A3; }
bool IsJamo(char32_t c) { return c >= 0x1100 && c <= 0x11FF; }

// utf8proc's mark for the second characters of compositions; below it are first ones.
constexpr uint16_t kSecondIndex = 0x8000;

// Whether c stays as it is, and so does what precedes it up to it, whatever follows.
bool IsStable(UnicodeForm form, char32_t c) {
  if (c < 0x80) return true;
  if (c < 0x300 && form == UnicodeForm::kNfc) return true;
  if (IsHangulSyllable(c)) return Composes(form);
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  if (property->combining_class != 0) return false;
  if (property->decomp_seqindex != UINT16_MAX && (property->decomp_type == 0 || Compatible(form))) {
    return false;
  }
  if (!Composes(form)) return true;
  return !IsJamo(c) && (property->comb_index == UINT16_MAX || property->comb_index < kSecondIndex);
}

int CombiningClass(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Canonical order (UAX #15, D109): runs of marks sorted by class, equal ones as they were.
void Reorder(std::vector<utf8proc_int32_t>* chars) {
  for (size_t i = 0; i < chars->size();) {
    size_t end = i;
    while (end < chars->size() && CombiningClass((*chars)[end]) != 0) ++end;
    std::stable_sort(chars->begin() + static_cast<ptrdiff_t>(i),
                     chars->begin() + static_cast<ptrdiff_t>(end),
                     [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    i = std::max(end, i + 1);
  }
}

std::vector<utf8proc_int32_t> NormalForm(UnicodeForm form, std::string_view text) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (Compatible(form) ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  utf8proc_int32_t parts[32];  // the longest decomposition has 18 characters
  for (size_t pos = 0; pos < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(NextChar(text, &pos));
    const utf8proc_ssize_t count = utf8proc_decompose_char(c, parts, 32, options, nullptr);
    if (count < 0 || count > 32) {
      chars.push_back(c);
    } else {
      chars.insert(chars.end(), parts, parts + count);
    }
  }
  Reorder(&chars);
  if (Composes(form)) {
    const utf8proc_ssize_t count = utf8proc_normalize_utf32(
        chars.data(), static_cast<utf8proc_ssize_t>(chars.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (count >= 0) chars.resize(static_cast<size_t>(count));
  }
  return chars;
}

// The part of `text` from `begin` on that must be normalized together: it ends before a stable
// character.
size_t SegmentEnd(UnicodeForm form, std::string_view text, size_t begin) {
  size_t pos = begin;
  NextChar(text, &pos);
  while (pos < text.size()) {
    size_t next = pos;
    if (IsStable(form, NextChar(text, &next))) break;
    pos = next;
  }
  return pos;
}

}  // namespace

bool ApplyForm(UnicodeForm form, const TextView& in, bool keep_alignment, AlignedText* out) {
  const std::string_view text = in.text;
  // `segment`: the last stable character before the first that is not.
  size_t segment = 0;
  size_t pos = 0;
  bool changed = false;
  std::unique_ptr<TextBuilder> builder;
  while (pos < text.size()) {
    const size_t begin = pos;
    if (static_cast<unsigned char>(text[pos]) < 0x80) {
      segment = pos++;
      continue;
    }
    if (IsStable(form, NextChar(text, &pos))) {
      segment = begin;
      continue;
    }
    const size_t end = SegmentEnd(form, text, segment);
    const std::vector<utf8proc_int32_t> chars =
        NormalForm(form, text.substr(segment, end - segment));
    std::string normal;
    for (utf8proc_int32_t c : chars) AppendUtf8(static_cast<char32_t>(c), &normal);
    if (normal != text.substr(segment, end - segment)) {
      if (!changed) builder = std::make_unique<TextBuilder>(in, keep_alignment, out);
      changed = true;
      builder->Keep(segment - builder->position());
      for (utf8proc_int32_t c : chars) {
        builder->position() < end ? builder->Replace(static_cast<char32_t>(c))
                                  : builder->Insert(static_cast<char32_t>(c));
      }
      builder->Remove(end - builder->position());
    }
    pos = segment = end;
  }
  if (changed) builder->Keep(text.size() - builder->position());
  return changed;
}

size_t GraphemeEnd(std::string_view text, size_t pos) {
  utf8proc_int32_t state = 0;
  auto previous = static_cast<utf8proc_int32_t>(NextChar(text, &pos));
  while (pos < text.size()) {
    size_t next = pos;
    const auto c = static_cast<utf8proc_int32_t>(NextChar(text, &next));
    if (utf8proc_grapheme_break_stateful(previous, c, &state)) break;
    previous = c;
    pos = next;
  }
  return pos;
}

}  // namespace tessera::server
