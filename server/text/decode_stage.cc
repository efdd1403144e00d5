#include "server/text/decode_stage.h"

#include <algorithm>
#include <utility>

#include "server/text/byte_level.h"
#include "server/text/utf8.h"

namespace tessera::server {
namespace {

class RawBytesStage : public DecodeStage {
 public:
  void Push(const Fragment& in, FragmentSink out) override {
    held_ += in.text;
    std::string text;
    const size_t rest = AppendLossy(held_, &text);
    held_.erase(0, held_.size() - rest);
    out({text, std::exchange(first_, false), false});
  }
  void Finish(FragmentSink out) override {
    out({held_.empty() ? std::string_view() : kReplacementCharacter, first_, true});
  }

 private:
  std::string held_;  // the beginning of a character
  bool first_ = true;
};

class ByteFallbackStage : public DecodeStage {
 public:
  void Push(const Fragment& in, FragmentSink out) override {
    if (!in.first || !in.last) {  // behind a stage that fuses: only a whole token can be a byte
      token_ += in.text;
      if (!in.last) return;
      Whole(std::exchange(token_, ""), out);
    } else {
      Whole(in.text, out);
    }
  }
  void Finish(FragmentSink out) override { Flush(out); }

 private:
  void Whole(std::string_view token, FragmentSink out) {
    if (const int byte = ByteFallbackValue(token); byte >= 0) {
      bytes_.push_back(static_cast<char>(byte));
      return;
    }
    Flush(out);
    out({token, true, true});
  }
  void Flush(FragmentSink out) {
    if (bytes_.empty()) return;
    if (FindInvalidUtf8(bytes_) == std::string_view::npos) {
      out({bytes_, true, true});
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) out({kReplacementCharacter, true, true});
    }
    bytes_.clear();
  }
  std::string token_;
  std::string bytes_;
};

class FuseStage : public DecodeStage {
 public:
  void Push(const Fragment& in, FragmentSink out) override {
    out({in.text, std::exchange(first_, false), false});
  }
  void Finish(FragmentSink out) override { out({"", first_, true}); }

 private:
  bool first_ = true;
};

class StripStage : public DecodeStage {
 public:
  StripStage(char32_t content, size_t start, size_t stop)
      : content_(ToUtf8(content)), start_(start), stop_(stop) {}

  void Push(const Fragment& in, FragmentSink out) override {
    if (in.first) {
      left_ = start_;
      held_ = 0;
    }
    std::string_view text = in.text;
    while (left_ > 0 && !text.empty()) {
      if (text.substr(0, content_.size()) != content_) {
        left_ = 0;
      } else {
        text.remove_prefix(content_.size());
        --left_;
      }
    }
    // Of the characters `content` at the end, as many are held back as may yet have to go.
    size_t trailing = 0;
    std::string_view body = text;
    while (trailing < stop_ && body.size() >= content_.size() &&
           body.substr(body.size() - content_.size()) == content_) {
      body.remove_suffix(content_.size());
      ++trailing;
    }
    std::string result;
    size_t release = held_;
    if (body.empty()) {
      const size_t total = held_ + trailing;
      release = total > stop_ ? total - stop_ : 0;
      held_ = total - release;
    } else {
      held_ = trailing;
    }
    for (size_t i = 0; i < release; ++i) result += content_;
    result += body;
    out({result, in.first, in.last});
  }

 private:
  std::string content_;
  size_t start_, stop_;
  size_t left_ = 0;  // how many may still be taken off the front of this token
  size_t held_ = 0;  // characters `content` held back
};

}  // namespace

std::unique_ptr<DecodeStage> MakeRawBytesStage() { return std::make_unique<RawBytesStage>(); }
std::unique_ptr<DecodeStage> MakeByteFallbackStage() {
  return std::make_unique<ByteFallbackStage>();
}
std::unique_ptr<DecodeStage> MakeFuseStage() { return std::make_unique<FuseStage>(); }
std::unique_ptr<DecodeStage> MakeStripStage(char32_t content, size_t start, size_t stop) {
  return std::make_unique<StripStage>(content, start, stop);
}

}  // namespace tessera::server
