#include "shard_loader/model/strict_json.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

// Builds the document from the parser's events, and stops it at the first broken limit.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(json::number_integer_t value) override { return Add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return Add(value); }
  bool number_float(json::number_float_t value, const std::string&) override { return Add(value); }
  bool string(std::string& value) override { return Add(std::move(value)); }
  bool binary(json::binary_t&) override { return Fail("binary value"); }
  bool start_object(std::size_t) override { return Open(json::object()); }
  bool start_array(std::size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(std::string& name) override {
    json& object = *open_.back();
    if (limits_.refuse_duplicates && object.contains(name)) {
      return Fail(absl::StrCat("'", Excerpt(name), "' stands there twice"));
    }
    slot_ = &object[name];
    *slot_ = nullptr;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The library's message repeats the bytes that it read last, however many they are.
    const std::string_view what = error.what();
    return Fail(absl::StrCat("no valid JSON at byte ", position, ": ",
                             std::string(what.substr(0, what.find("last read"))).substr(0, 160)));
  }

  json Take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  json* Place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool Add(json value) {
    Place(std::move(value));
    return true;
  }

  bool Open(json container) {
    if (static_cast<int>(open_.size()) >= limits_.max_depth) {
      return Fail(absl::StrCat("nested deeper than ", limits_.max_depth, " levels"));
    }
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  JsonLimits limits_;
  json root_;
  std::vector<json*> open_;  // containers from the root to the innermost
  json* slot_ = nullptr;     // where the value of the last key goes
  std::string error_;
};

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view bytes, const std::string& file,
                                     const JsonLimits& limits) {
  if (bytes.size() > limits.max_bytes) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", bytes.size(),
                                            " bytes, more than the ", limits.max_bytes,
                                            " that such a file may have"));
  }
  Builder builder(limits);
  if (!json::sax_parse(bytes.begin(), bytes.end(), &builder)) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", builder.error()));
  }
  json document = builder.Take();
  if (!document.is_object()) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", document.type_name(),
                                            " at the top, expected an object"));
  }
  return document;
}

std::string Excerpt(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string excerpt;
  for (char c : text.substr(0, kMost)) excerpt += (c >= ' ' && c <= '~') ? c : '?';
  if (text.size() > kMost) excerpt += "...";
  return excerpt;
}

}  // namespace tessera::shard_loader
