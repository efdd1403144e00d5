// A trie over byte strings for finding all that a text begins with.
#ifndef TESSERA_SERVER_TEXT_BYTE_TRIE_H_
#define TESSERA_SERVER_TEXT_BYTE_TRIE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::server {

// Immutable; thread-safe.
class ByteTrie {
 public:
  static constexpr uint32_t kNoValue = 0xFFFFFFFF;

  ByteTrie() : ByteTrie(std::vector<std::pair<std::string, uint32_t>>()) {}
  // Empty keys are ignored; of equal keys the last one's value holds.
  explicit ByteTrie(std::vector<std::pair<std::string, uint32_t>> entries);

  // Calls visit(length, value) for each key that `text` begins with, shortest first.
  template <typename Visit>
  void Prefixes(std::string_view text, Visit visit) const {
    if (text.empty()) return;
    uint32_t node = root_[static_cast<unsigned char>(text[0])];
    for (size_t length = 1; node != 0; ++length) {
      if (nodes_[node].value != kNoValue) visit(length, nodes_[node].value);
      if (length == text.size()) return;
      node = Child(node, static_cast<unsigned char>(text[length]));
    }
  }
  // Whether some key begins with `byte`.
  bool Begins(unsigned char byte) const { return root_[byte] != 0; }
  bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    uint32_t first_child = 0;  // children lie side by side, sorted by their byte
    uint16_t child_count = 0;
    uint8_t byte = 0;
    uint32_t value = kNoValue;
  };
  uint32_t Child(uint32_t node, unsigned char byte) const {
    uint32_t low = nodes_[node].first_child;
    uint32_t high = low + nodes_[node].child_count;
    while (high - low > 8) {
      const uint32_t middle = low + (high - low) / 2;
      (nodes_[middle].byte <= byte ? low : high) = middle;
    }
    for (; low < high; ++low) {
      if (nodes_[low].byte == byte) return low;
    }
    return 0;
  }

  std::vector<Node> nodes_;  // 0: the root
  std::array<uint32_t, 256> root_ = {};
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_BYTE_TRIE_H_
