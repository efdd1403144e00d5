// Text on its way from the input to the model: normalized, cut, and still knowing where it came
// from.
#ifndef TESSERA_SERVER_TEXT_ALIGNED_TEXT_H_
#define TESSERA_SERVER_TEXT_ALIGNED_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::server {

// The bytes [begin, end) of the input that a byte of normalized text stands for.
struct Alignment {
  uint32_t begin, end;
};

// A stretch of UTF-8 and its origin. Borrows both arrays.
struct TextView {
  std::string_view text;
  // One per byte of text; nullptr: text is a piece of the input itself, or alignments are not kept.
  const Alignment* alignment = nullptr;
  // Where text lies in the input, as far as alignment does not say it.
  size_t origin = 0;

  TextView Slice(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), alignment == nullptr ? nullptr : alignment + begin,
            origin + begin};
  }
  // What the whole characters at text[begin, end) stand for; an empty stretch stands for an empty
  // one.
  Alignment Origin(size_t begin, size_t end) const;
  // Where the text begins in the input.
  size_t OriginBegin() const {
    return alignment == nullptr || text.empty() ? origin : alignment[0].begin;
  }
};

// Text that is made out of a TextView. Alignments are kept as the `tokenizers` library keeps them.
struct AlignedText {
  std::string text;
  std::vector<Alignment> alignment;  // empty where it is not kept
  size_t origin = 0;

  TextView View() const { return {text, alignment.empty() ? nullptr : alignment.data(), origin}; }
};

// Builds an AlignedText by walking over its source.
class TextBuilder {
 public:
  TextBuilder(const TextView& source, bool keep_alignment, AlignedText* out);

  // The next character of the source becomes `c`.
  void Replace(char32_t c);
  // Adds `c`, which stands for what the source character before it stands for.
  void Insert(char32_t c);
  void Insert(std::string_view text);
  // Leaves out the next `bytes` bytes of the source.
  void Remove(size_t bytes);
  // Takes over the next `bytes` bytes of the source.
  void Keep(size_t bytes);
  // The next character, `bytes` long, becomes its bytes in GPT-2's printable form.
  void ReplaceByBytes(size_t bytes);
  size_t position() const { return position_; }

 private:
  Alignment At(size_t i) const;
  void Align(size_t size_before, Alignment alignment) {
    if (keep_alignment_)
      out_->alignment.resize(out_->alignment.size() + out_->text.size() - size_before, alignment);
  }

  TextView source_;
  bool keep_alignment_;
  AlignedText* out_;
  size_t position_ = 0;  // in the source
};

// The source with `prefix` before it, which stands for what the first character stands for.
void PrependTo(const TextView& source, std::string_view prefix, bool keep_alignment,
               AlignedText* out);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_ALIGNED_TEXT_H_
