#include "shard_loader/format/pickle.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/pickle_machine.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {

absl::StatusOr<Pickle> Pickle::Parse(std::string_view bytes, const std::string& file,
                                     const PickleLimits& limits) {
  return PickleMachine(bytes, file, limits).Run();
}

const PickleValue* Pickle::Find(const PickleValue& dict, std::string_view key) const {
  if (dict.kind != PickleKind::kDict) return nullptr;
  for (size_t i = dict.items.size(); i >= 2; i -= 2) {  // the last of two equal keys counts
    const PickleValue& name = at(dict.items[i - 2]);
    if (name.kind == PickleKind::kString && name.text == key) return &at(dict.items[i - 1]);
  }
  return nullptr;
}

const PickleValue* Pickle::Attribute(const PickleValue& object, std::string_view name) const {
  return object.kind == PickleKind::kObject ? Find(at(object.state), name) : Find(object, name);
}

PickleMachine::PickleMachine(std::string_view bytes, const std::string& file,
                             const PickleLimits& limits)
    : bytes_(bytes), file_(file), limits_(limits) {
  pickle_.values_.emplace_back();  // None
}

absl::Status PickleMachine::Corrupt(std::string_view what) const {
  return absl::DataLossError(absl::StrCat("shard_loader: ", file_, ": pickle: ", std::string(what),
                                          " at byte ", position_, "; the file is corrupt"));
}

absl::Status PickleMachine::Refuse(std::string_view name) const {
  return absl::UnimplementedError(
      absl::StrCat("shard_loader: ", file_, ": the pickle calls '", Excerpt(name),
                   "', which is refused: no code of a checkpoint is ever run; save the weights as "
                   "safetensors or as a plain state_dict"));
}

absl::Status PickleMachine::Charge(uint64_t bytes) {
  charged_ += bytes;
  if (charged_ <= limits_.max_memory) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("shard_loader: ", file_, ": the pickle's values take more than ",
                   limits_.max_memory, " bytes; the file is refused"));
}

absl::StatusOr<PickleRef> PickleMachine::Add(PickleValue value) {
  RETURN_IF_ERROR(Charge(sizeof(PickleValue) + value.items.size() * sizeof(PickleRef)));
  if (value.depth > limits_.max_depth) {
    return absl::ResourceExhaustedError(
        absl::StrCat("shard_loader: ", file_, ": the pickle nests more than ", limits_.max_depth,
                     " containers; the file is refused"));
  }
  pickle_.values_.push_back(std::move(value));
  return static_cast<PickleRef>(pickle_.values_.size() - 1);
}

absl::StatusOr<PickleRef> PickleMachine::AddContainer(PickleKind kind,
                                                      std::vector<PickleRef> items) {
  int depth = 0;
  for (const PickleRef item : items) depth = std::max(depth, at(item).depth);
  return Add({.kind = kind, .depth = depth + 1, .items = std::move(items)});
}

absl::StatusOr<PickleRef> PickleMachine::AddText(PickleKind kind, std::string text) {
  RETURN_IF_ERROR(Charge(sizeof(std::string) + text.size()));
  pickle_.texts_.push_back(std::move(text));
  return Add({.kind = kind, .text = pickle_.texts_.back()});
}

absl::StatusOr<PickleRef> PickleMachine::AddObject(std::string_view type, PickleRef state) {
  return Add(
      {.kind = PickleKind::kObject, .depth = at(state).depth + 1, .text = type, .state = state});
}

absl::StatusOr<PickleRef> PickleMachine::AddTensor(PickledTensor tensor) {
  RETURN_IF_ERROR(Charge(sizeof(PickledTensor) + 16 * tensor.shape.size()));
  pickle_.tensors_.push_back(std::move(tensor));
  PickleValue value{.kind = PickleKind::kTensor};
  value.integer = static_cast<int64_t>(pickle_.tensors_.size() - 1);
  return Add(std::move(value));
}

absl::Status PickleMachine::Append(PickleRef container, absl::Span<const PickleRef> items) {
  RETURN_IF_ERROR(Charge(items.size() * 2 * sizeof(PickleRef)));
  int depth = at(container).depth;
  for (const PickleRef item : items) {
    // A container inside of itself keeps its depth; what is walked later is bounded by the walker.
    if (item != container) depth = std::max(depth, at(item).depth + 1);
  }
  if (depth > limits_.max_depth) return Corrupt("containers nested too deep");
  PickleValue& value = pickle_.values_[container];
  value.depth = depth;
  value.items.insert(value.items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> PickleMachine::Take(uint64_t bytes) {
  if (bytes > bytes_.size() - position_) {
    return absl::OutOfRangeError(absl::StrCat("shard_loader: ", file_,
                                              ": the pickle ends inside of a value at byte ",
                                              position_, "; the file is truncated or corrupt"));
  }
  const std::string_view taken = bytes_.substr(position_, bytes);
  position_ += bytes;
  return taken;
}

absl::StatusOr<std::string_view> PickleMachine::Line() {
  const size_t end = bytes_.find('\n', position_);
  const uint64_t size = end == bytes_.npos ? bytes_.size() - position_ + 1 : end - position_ + 1;
  ASSIGN_OR_RETURN(std::string_view line, Take(size));
  line.remove_suffix(1);
  return line;
}

absl::StatusOr<uint64_t> PickleMachine::Unsigned(int bytes) {
  ASSIGN_OR_RETURN(const std::string_view raw, Take(bytes));
  uint64_t value = 0;
  for (int i = bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(raw[i]);
  return value;
}

absl::Status PickleMachine::Push(absl::StatusOr<PickleRef> value) {
  RETURN_IF_ERROR(value.status());
  RETURN_IF_ERROR(stack_.size() < pickle_.values_.size() * 2 + 64 ? absl::OkStatus() : Charge(8));
  stack_.push_back(*value);
  return absl::OkStatus();
}

absl::StatusOr<PickleRef> PickleMachine::Top() {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) return Corrupt("an opcode takes more from the stack than there is");
  return stack_.back();
}

absl::StatusOr<PickleRef> PickleMachine::Pop() {
  ASSIGN_OR_RETURN(const PickleRef top, Top());
  stack_.pop_back();
  return top;
}

absl::StatusOr<std::vector<PickleRef>> PickleMachine::PopToMark() {
  if (marks_.empty()) return Corrupt("an opcode needs a mark and there is none");
  const auto first = stack_.begin() + static_cast<int64_t>(marks_.back());
  std::vector<PickleRef> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

}  // namespace tessera::shard_loader
