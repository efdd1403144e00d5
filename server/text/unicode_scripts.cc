#include "server/text/unicode_scripts.h"

#include <oniguruma.h>

#include <cstring>
#include <vector>

#include "server/text/unicode.h"

namespace tessera::server {
namespace {

// The scripts of Unicode 14 whose tables Oniguruma has; those two that count as Han come with it.
constexpr const char* kScripts[] = {"Han",
                                    "Hiragana",
                                    "Katakana",
                                    "Latin",
                                    "Common",
                                    "Inherited",
                                    "Greek",
                                    "Cyrillic",
                                    "Armenian",
                                    "Hebrew",
                                    "Arabic",
                                    "Syriac",
                                    "Thaana",
                                    "Nko",
                                    "Samaritan",
                                    "Mandaic",
                                    "Devanagari",
                                    "Bengali",
                                    "Gurmukhi",
                                    "Gujarati",
                                    "Oriya",
                                    "Tamil",
                                    "Telugu",
                                    "Kannada",
                                    "Malayalam",
                                    "Sinhala",
                                    "Thai",
                                    "Lao",
                                    "Tibetan",
                                    "Myanmar",
                                    "Georgian",
                                    "Hangul",
                                    "Ethiopic",
                                    "Cherokee",
                                    "Canadian_Aboriginal",
                                    "Ogham",
                                    "Runic",
                                    "Tagalog",
                                    "Hanunoo",
                                    "Buhid",
                                    "Tagbanwa",
                                    "Khmer",
                                    "Mongolian",
                                    "Limbu",
                                    "Tai_Le",
                                    "New_Tai_Lue",
                                    "Buginese",
                                    "Tai_Tham",
                                    "Balinese",
                                    "Sundanese",
                                    "Batak",
                                    "Lepcha",
                                    "Ol_Chiki",
                                    "Braille",
                                    "Glagolitic",
                                    "Coptic",
                                    "Tifinagh",
                                    "Bopomofo",
                                    "Yi",
                                    "Lisu",
                                    "Vai",
                                    "Bamum",
                                    "Syloti_Nagri",
                                    "Phags_Pa",
                                    "Saurashtra",
                                    "Kayah_Li",
                                    "Rejang",
                                    "Javanese",
                                    "Cham",
                                    "Tai_Viet",
                                    "Meetei_Mayek",
                                    "Linear_B",
                                    "Lycian",
                                    "Carian",
                                    "Old_Italic",
                                    "Gothic",
                                    "Old_Permic",
                                    "Ugaritic",
                                    "Old_Persian",
                                    "Deseret",
                                    "Shavian",
                                    "Osmanya",
                                    "Osage",
                                    "Elbasan",
                                    "Caucasian_Albanian",
                                    "Linear_A",
                                    "Cypriot",
                                    "Imperial_Aramaic",
                                    "Palmyrene",
                                    "Nabataean",
                                    "Hatran",
                                    "Phoenician",
                                    "Lydian",
                                    "Meroitic_Hieroglyphs",
                                    "Meroitic_Cursive",
                                    "Kharoshthi",
                                    "Old_South_Arabian",
                                    "Old_North_Arabian",
                                    "Manichaean",
                                    "Avestan",
                                    "Inscriptional_Parthian",
                                    "Inscriptional_Pahlavi",
                                    "Psalter_Pahlavi",
                                    "Old_Turkic",
                                    "Old_Hungarian",
                                    "Brahmi",
                                    "Kaithi",
                                    "Sora_Sompeng",
                                    "Chakma",
                                    "Mahajani",
                                    "Sharada",
                                    "Khojki",
                                    "Multani",
                                    "Khudawadi",
                                    "Grantha",
                                    "Newa",
                                    "Tirhuta",
                                    "Siddham",
                                    "Modi",
                                    "Takri",
                                    "Ahom",
                                    "Warang_Citi",
                                    "Pau_Cin_Hau",
                                    "Bhaiksuki",
                                    "Marchen",
                                    "Cuneiform",
                                    "Egyptian_Hieroglyphs",
                                    "Anatolian_Hieroglyphs",
                                    "Mro",
                                    "Bassa_Vah",
                                    "Pahawh_Hmong",
                                    "Miao",
                                    "Tangut",
                                    "Duployan",
                                    "SignWriting",
                                    "Mende_Kikakui",
                                    "Adlam"};

std::vector<OnigCtype> ScriptCtypes() {
  CategoryOf(U'a');  // the library is ready
  std::vector<OnigCtype> ctypes;
  for (const char* name : kScripts) {
    auto* bytes = reinterpret_cast<OnigUChar*>(const_cast<char*>(name));
    const int ctype =
        ONIGENC_PROPERTY_NAME_TO_CTYPE(ONIG_ENCODING_UTF8, bytes, bytes + std::strlen(name));
    if (ctype >= 0) ctypes.push_back(static_cast<OnigCtype>(ctype));
  }
  return ctypes;
}

}  // namespace

ScriptId PreTokenizerScript(char32_t c) {
  static const std::vector<OnigCtype> ctypes = ScriptCtypes();
  if (c == ' ') return kAnyScript;
  if (c == 0x30FC) return 1;
  for (size_t i = 0; i < ctypes.size(); ++i) {
    if (ONIGENC_IS_CODE_CTYPE(ONIG_ENCODING_UTF8, c, ctypes[i]) == 0) continue;
    return i < 3 ? 1 : static_cast<ScriptId>(i);
  }
  return kAnyScript;
}

}  // namespace tessera::server
