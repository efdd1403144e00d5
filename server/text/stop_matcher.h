// Stop strings over the borders of tokens.
#ifndef TESSERA_SERVER_TEXT_STOP_MATCHER_H_
#define TESSERA_SERVER_TEXT_STOP_MATCHER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::server {

// Passes text through until a stop string is complete: the first that ends, and of those that end
// at the same byte the longest. Text that may be the beginning of a stop string is held back until
// that is decided; nothing of a stop string leaves before it. Time is linear in the text. Not
// thread-safe.
class StopMatcher {
 public:
  // Empty strings are ignored. `include_stop_string`: the stop string itself goes out with the
  // text.
  StopMatcher(std::vector<std::string> strings, bool include_stop_string);

  // The part of what was held back and of `text` that may go out now. After a stop: empty.
  std::string Push(std::string_view text);
  // What is still held back, where the text ends without a stop.
  std::string Finish();

  bool stopped() const { return stopped_; }
  // The stop string that was found; empty before.
  std::string matched() const { return matched_; }
  // Bytes held back now.
  size_t held() const { return held_.size(); }

 private:
  // A state of the automaton of all strings (Aho and Corasick, 1975).
  struct Node {
    std::vector<std::pair<unsigned char, int>> next;  // sorted by byte
    int fail = 0;
    int depth = 0;     // length of the longest prefix of a stop string that ends here
    int longest = -1;  // index of the longest string that ends here, or -1
  };
  int Child(int node, unsigned char byte) const;
  int Step(int node, unsigned char byte) const;
  void Build();

  std::vector<std::string> strings_;
  bool include_stop_string_;
  std::vector<Node> nodes_;
  int state_ = 0;
  std::string held_;
  bool stopped_ = false;
  std::string matched_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_STOP_MATCHER_H_
