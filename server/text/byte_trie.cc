#include "server/text/byte_trie.h"

#include <algorithm>

namespace tessera::server {

ByteTrie::ByteTrie(std::vector<std::pair<std::string, uint32_t>> entries) : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  // Level by level, so that the children of a node lie side by side: each node stands for the range
  // of sorted keys that begin with its bytes.
  struct Range {
    uint32_t node;
    size_t begin, end, depth;
  };
  std::vector<Range> level = {{0, 0, entries.size(), 0}};
  while (!level.empty()) {
    std::vector<Range> next;
    for (const Range& range : level) {
      size_t i = range.begin;
      for (; i < range.end && entries[i].first.size() == range.depth; ++i) {
        if (range.node != 0) nodes_[range.node].value = entries[i].second;
      }
      nodes_[range.node].first_child = static_cast<uint32_t>(nodes_.size());
      while (i < range.end) {
        const char byte = entries[i].first[range.depth];
        const size_t begin = i;
        while (i < range.end && entries[i].first[range.depth] == byte) ++i;
        next.push_back({static_cast<uint32_t>(nodes_.size()), begin, i, range.depth + 1});
        ++nodes_[range.node].child_count;
        nodes_.push_back({.byte = static_cast<uint8_t>(byte)});
      }
    }
    level = std::move(next);
  }
  for (uint32_t i = 0; i < nodes_[0].child_count; ++i) {
    const uint32_t child = nodes_[0].first_child + i;
    root_[nodes_[child].byte] = child;
  }
}

}  // namespace tessera::server
