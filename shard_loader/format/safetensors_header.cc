#include "shard_loader/format/safetensors_header.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr size_t kMostDimensions = 8;

// {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {...}}
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(json::number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(json::number_float_t, const std::string&) override {
    return Unexpected("no integer of 64 bits");
  }
  bool binary(json::binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(json::number_unsigned_t value) override {
    if (state_ != State::kList) return Unexpected("a number");
    if (field_ == "shape") {
      if (value > static_cast<uint64_t>(INT64_MAX)) return Unexpected("too large");
      if (tensor_.shape.size() >= kMostDimensions) {
        return Unexpected(absl::StrCat("longer than ", kMostDimensions, " dimensions"));
      }
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (num_offsets_ == 2) return Unexpected("longer than two numbers");
    (num_offsets_ == 0 ? tensor_.begin : tensor_.end) = value;
    ++num_offsets_;
    return true;
  }

  bool string(std::string& value) override {
    if (state_ == State::kMetadata) return true;
    if (state_ != State::kTensor || field_ != "dtype") return Unexpected("a string");
    tensor_.dtype = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kRoot;
        return true;
      case State::kRoot:
        state_ = tensor_.name == "__metadata__" ? State::kMetadata : State::kTensor;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(std::string& name) override {
    if (state_ == State::kRoot) {
      tensor_ = {};
      tensor_.name = std::move(name);
      seen_ = num_offsets_ = 0;
      field_.clear();
      return true;
    }
    if (state_ == State::kMetadata) return true;
    const int bit = name == "dtype" ? 1 : name == "shape" ? 2 : name == "data_offsets" ? 4 : 0;
    field_ = std::move(name);
    if (bit == 0) return Unexpected("no field of the format");
    if ((seen_ & bit) != 0) return Unexpected("there twice");
    seen_ |= bit;
    return true;
  }

  bool end_object() override {
    if (state_ == State::kRoot) {
      state_ = State::kEnd;
      return true;
    }
    if (state_ == State::kTensor) {
      if (seen_ != 7 || num_offsets_ != 2) {
        return Fail(absl::StrCat("tensor '", Excerpt(tensor_.name),
                                 "' lacks one of dtype, shape and two data_offsets"));
      }
      tensors_.push_back(std::move(tensor_));
    }
    state_ = State::kRoot;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::kTensor || field_ == "dtype") return Unexpected("an array");
    state_ = State::kList;
    return true;
  }

  bool end_array() override {
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("the header is no valid JSON in UTF-8 at its byte ", position));
  }

  std::vector<SafetensorsTensor> Take() { return std::move(tensors_); }
  const std::string& error() const { return error_; }

 private:
  enum class State { kStart, kRoot, kMetadata, kTensor, kList, kEnd };

  bool Unexpected(const std::string& found) {
    switch (state_) {
      case State::kStart:
        return Fail(absl::StrCat("the header is ", found, ", expected an object"));
      case State::kMetadata:
        return Fail(absl::StrCat("__metadata__ holds ", found, ", expected strings"));
      case State::kRoot:
        return Fail(absl::StrCat("tensor '", Excerpt(tensor_.name), "' is ", found,
                                 ", expected an object"));
      default:
        return Fail(
            absl::StrCat("tensor '", Excerpt(tensor_.name), "': ", Excerpt(field_), " is ", found));
    }
  }

  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  State state_ = State::kStart;
  SafetensorsTensor tensor_;
  std::string field_;
  int seen_ = 0;  // bits of the fields of tensor_
  int num_offsets_ = 0;
  std::vector<SafetensorsTensor> tensors_;
  std::string error_;
};

}  // namespace

absl::StatusOr<std::vector<SafetensorsTensor>> ReadSafetensorsJson(std::string_view header,
                                                                   const std::string& file) {
  HeaderReader reader;
  if (!json::sax_parse(header.begin(), header.end(), &reader)) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": ", reader.error()));
  }
  return reader.Take();
}

}  // namespace tessera::shard_loader
