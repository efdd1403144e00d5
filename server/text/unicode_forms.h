// The normalization forms of Unicode (UAX #15) over utf8proc's data.
#ifndef TESSERA_SERVER_TEXT_UNICODE_FORMS_H_
#define TESSERA_SERVER_TEXT_UNICODE_FORMS_H_

#include <string_view>

#include "server/text/aligned_text.h"

namespace tessera::server {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

// Writes the normal form to `*out` and returns true; false where the text is normal already. Time
// grows as n log n at worst, also for long runs of marks.
bool ApplyForm(UnicodeForm form, const TextView& in, bool keep_alignment, AlignedText* out);

// The end of the extended grapheme cluster (UAX #29) that begins at text[pos]; pos < text.size().
size_t GraphemeEnd(std::string_view text, size_t pos);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_UNICODE_FORMS_H_
