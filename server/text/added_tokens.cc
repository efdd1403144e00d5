#include "server/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

bool EndsInWord(std::string_view text) {
  if (text.empty()) return false;
  size_t pos = PreviousChar(text, text.size());
  return IsWord(NextChar(text, &pos));
}
bool BeginsWithWord(std::string_view text) {
  size_t pos = 0;
  return !text.empty() && IsWord(NextChar(text, &pos));
}

// The start of the white space that ends at `end`, not before `floor`.
size_t SpaceBefore(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const size_t previous = PreviousChar(text, end);
    size_t at = previous;
    if (!IsSpace(NextChar(text, &at))) break;
    end = previous;
  }
  return end;
}
size_t SpaceAfter(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t next = begin;
    if (!IsSpace(NextChar(text, &next))) break;
    begin = next;
  }
  return begin;
}

enum class Touch { kNone, kPartly, kInside };

// How [begin, end) lies to the ranges; `*at` is the first that may matter, and moves forward.
Touch TouchOf(size_t begin, size_t end, absl::Span<const ByteRange> ranges, size_t* at) {
  while (*at < ranges.size() && ranges[*at].end <= begin) ++*at;
  if (*at == ranges.size() || ranges[*at].begin >= end) return Touch::kNone;
  return ranges[*at].begin <= begin && end <= ranges[*at].end ? Touch::kInside : Touch::kPartly;
}

}  // namespace

void AddedTokens::Add(AddedToken token) {
  if (token.content.empty()) return;
  if (token.special) {
    special_.insert(token.content);
    control_.insert(token.content);
  }
  ids_[token.content] = token.id;
  tokens_.push_back(std::move(token));
}

void AddedTokens::Build(const std::vector<std::string>& normalized) {
  std::vector<std::pair<std::string, uint32_t>> plain, normal;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    by_id_[tokens_[i].id] = i;
    if (tokens_[i].normalized) {
      normal.emplace_back(normalized[i], i);
    } else {
      plain.emplace_back(tokens_[i].content, i);
    }
  }
  // Of equal keys the first counts, special tokens before others; the trie keeps the last.
  const auto by_priority = [&](const auto& a, const auto& b) {
    const bool first = tokens_[a.second].special, second = tokens_[b.second].special;
    return first != second ? !first : a.second > b.second;
  };
  std::stable_sort(plain.begin(), plain.end(), by_priority);
  std::stable_sort(normal.begin(), normal.end(), by_priority);
  as_written_ = ByteTrie(std::move(plain));
  normalized_ = ByteTrie(std::move(normal));
}

std::optional<uint32_t> AddedTokens::Find(std::string_view content) const {
  const auto it = ids_.find(Absl(content));
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

const AddedToken* AddedTokens::ById(uint32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

bool AddedTokens::IsSpecial(std::string_view content) const {
  return special_.contains(Absl(content));
}

void AddedTokens::MarkControl(std::string_view content) { control_.insert(std::string(content)); }

AddedTokens::Match AddedTokens::LongestAt(const ByteTrie& trie, std::string_view text) const {
  Match match;
  trie.Prefixes(text, [&](size_t length, uint32_t index) { match = {length, &tokens_[index]}; });
  return match;
}

absl::Status AddedTokens::Split(const TextView& in, bool normalized,
                                absl::Span<const ByteRange> plain, Sink sink) const {
  const ByteTrie& trie = normalized ? normalized_ : as_written_;
  const std::string_view text = in.text;
  size_t done = 0;  // bytes before it have been handed out
  size_t range = 0;
  for (size_t pos = 0; !trie.empty() && pos < text.size();) {
    if (!trie.Begins(static_cast<unsigned char>(text[pos]))) {
      ++pos;
      continue;
    }
    const Match match = LongestAt(trie, text.substr(pos));
    if (match.token == nullptr) {
      ++pos;
      continue;
    }
    // The settings are those of the last token that got this id.
    const AddedToken& token = *ById(match.token->id);
    size_t begin = pos;
    size_t end = pos + match.length;
    if (!plain.empty() && control_.contains(token.content)) {
      const Alignment origin = in.Origin(begin, end);
      const Touch touch = TouchOf(origin.begin, origin.end, plain, &range);
      if (touch != Touch::kNone) {
        // A token that the text only begins must not hide one that follows.
        pos = touch == Touch::kInside ? end : pos + 1;
        continue;
      }
    }
    pos = end;
    if (token.single_word &&
        (EndsInWord(text.substr(0, begin)) || BeginsWithWord(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) begin = std::max(SpaceBefore(text, begin, std::min(done, begin)), done);
    if (token.rstrip) end = SpaceAfter(text, end);
    if (done < begin) RETURN_IF_ERROR(sink(in.Slice(done, begin), std::nullopt));
    RETURN_IF_ERROR(sink(in.Slice(begin, end), token.id));
    done = end;
  }
  if (done < text.size()) RETURN_IF_ERROR(sink(in.Slice(done, text.size()), std::nullopt));
  return absl::OkStatus();
}

}  // namespace tessera::server
