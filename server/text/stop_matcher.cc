#include "server/text/stop_matcher.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace tessera::server {

StopMatcher::StopMatcher(std::vector<std::string> strings, bool include_stop_string)
    : strings_(std::move(strings)), include_stop_string_(include_stop_string) {
  std::erase_if(strings_, [](const std::string& string) { return string.empty(); });
  Build();
}

int StopMatcher::Child(int node, unsigned char byte) const {
  const auto& next = nodes_[static_cast<size_t>(node)].next;
  const auto it = std::lower_bound(next.begin(), next.end(), std::pair(byte, 0));
  return it != next.end() && it->first == byte ? it->second : -1;
}

int StopMatcher::Step(int node, unsigned char byte) const {
  while (true) {
    if (const int child = Child(node, byte); child >= 0) return child;
    if (node == 0) return 0;
    node = nodes_[static_cast<size_t>(node)].fail;
  }
}

void StopMatcher::Build() {
  nodes_.resize(1);
  for (size_t i = 0; i < strings_.size(); ++i) {
    int node = 0;
    for (unsigned char byte : strings_[i]) {
      int child = Child(node, byte);
      if (child < 0) {
        child = static_cast<int>(nodes_.size());
        auto& next = nodes_[static_cast<size_t>(node)].next;
        next.insert(std::lower_bound(next.begin(), next.end(), std::pair(byte, 0)), {byte, child});
        const int depth = nodes_[static_cast<size_t>(node)].depth + 1;
        nodes_.push_back({.depth = depth});
      }
      node = child;
    }
    nodes_[static_cast<size_t>(node)].longest = static_cast<int>(i);
  }
  // Breadth first: a node's fail link is less deep than the node.
  std::queue<int> queue;
  queue.push(0);
  while (!queue.empty()) {
    const int node = queue.front();
    queue.pop();
    for (const auto& [byte, child] : nodes_[static_cast<size_t>(node)].next) {
      Node& target = nodes_[static_cast<size_t>(child)];
      if (node != 0) target.fail = Step(nodes_[static_cast<size_t>(node)].fail, byte);
      if (target.longest < 0) target.longest = nodes_[static_cast<size_t>(target.fail)].longest;
      queue.push(child);
    }
  }
}

std::string StopMatcher::Push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  const size_t before = held_.size() - text.size();
  for (size_t i = 0; i < text.size(); ++i) {
    state_ = Step(state_, static_cast<unsigned char>(text[i]));
    const int found = nodes_[static_cast<size_t>(state_)].longest;
    if (found < 0) continue;
    stopped_ = true;
    matched_ = strings_[static_cast<size_t>(found)];
    const size_t end = before + i + 1;
    std::string out = held_.substr(0, include_stop_string_ ? end : end - matched_.size());
    held_.clear();
    return out;
  }
  const auto keep = static_cast<size_t>(nodes_[static_cast<size_t>(state_)].depth);
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

}  // namespace tessera::server
