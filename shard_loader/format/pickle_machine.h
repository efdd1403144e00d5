// The stack machine that a pickle is a program for. Used by pickle*.cc only.
#ifndef TESSERA_SHARD_LOADER_FORMAT_PICKLE_MACHINE_H_
#define TESSERA_SHARD_LOADER_FORMAT_PICKLE_MACHINE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/format/pickle.h"

namespace tessera::shard_loader {

// Owned by one Parse call.
class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, const std::string& file, const PickleLimits& limits);

  absl::StatusOr<Pickle> Run();

  // Values. All of them: RESOURCE_EXHAUSTED past a limit.
  absl::StatusOr<PickleRef> Add(PickleValue value);
  absl::StatusOr<PickleRef> AddContainer(PickleKind kind, std::vector<PickleRef> items);
  absl::StatusOr<PickleRef> AddText(PickleKind kind, std::string text);
  absl::StatusOr<PickleRef> AddObject(std::string_view type, PickleRef state);
  absl::StatusOr<PickleRef> AddTensor(PickledTensor tensor);
  absl::Status Append(PickleRef container, absl::Span<const PickleRef> items);
  const PickleValue& at(PickleRef ref) const { return pickle_.values_[ref]; }

  // Calls (pickle_calls.cc): what REDUCE, NEWOBJ, INST and OBJ give for one of the known callables.
  absl::StatusOr<PickleRef> Call(PickleRef callable, PickleRef arguments);
  // cls.__new__(cls): an inert object of a class in the list.
  absl::StatusOr<PickleRef> NewObject(PickleRef type, PickleRef arguments);

  // DATA_LOSS, with the place.
  absl::Status Corrupt(std::string_view what) const;
  absl::Status Refuse(std::string_view name) const;

  // Opcodes, by what they do (pickle_opcodes.cc).
  absl::Status Number(uint8_t opcode);
  absl::Status TextNumber(uint8_t opcode);
  absl::Status Text(uint8_t opcode);
  absl::Status EscapedText(uint8_t opcode);
  absl::Status Constant(uint8_t opcode);
  absl::Status Stack(uint8_t opcode);
  absl::Status Memo(uint8_t opcode);
  absl::Status Sequence(uint8_t opcode);
  absl::Status Fill(uint8_t opcode);
  absl::Status Global(uint8_t opcode);
  absl::Status Object(uint8_t opcode);
  absl::Status Header(uint8_t opcode);
  absl::Status Unknown(uint8_t opcode);

 private:
  absl::StatusOr<std::string_view> Take(uint64_t bytes);
  absl::StatusOr<std::string_view> Line();
  absl::StatusOr<uint64_t> Unsigned(int bytes);
  absl::Status Push(absl::StatusOr<PickleRef> value);
  absl::StatusOr<PickleRef> Pop();
  absl::StatusOr<PickleRef> Top();
  absl::StatusOr<std::vector<PickleRef>> PopToMark();
  absl::Status Charge(uint64_t bytes);
  absl::Status PushInteger(std::string_view little_endian);
  absl::Status Store(uint64_t index);
  absl::Status Build();
  absl::StatusOr<PickleRef> MakeGlobal(std::string_view module, std::string_view name);

  // Parts of Call.
  absl::StatusOr<PickleRef> RebuildTensor(absl::Span<const PickleRef> arguments, bool typed);
  absl::StatusOr<PickledTensor> StorageOf(PickleRef id, PickledStorage* whole) const;
  absl::Status RegisterStorage(PickleRef id);
  absl::StatusOr<PickleRef> DictFromPairs(absl::Span<const PickleRef> arguments);

  std::string_view bytes_;
  const std::string& file_;
  PickleLimits limits_;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  absl::flat_hash_map<uint64_t, PickleRef> memo_;
  uint64_t position_ = 0;
  uint64_t charged_ = 0;
  bool stopped_ = false;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_PICKLE_MACHINE_H_
