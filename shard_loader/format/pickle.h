// Reads a Python pickle (protocols 0 to 5) as data. Nothing is imported and nothing is called:
// tensors, containers, numbers and strings become values of ours, every other global an inert
// value, and a pickle that calls a global which is not in the short list of calls.cc is refused by
// its name. Opcodes: CPython's Lib/pickletools.py.
#ifndef TESSERA_SHARD_LOADER_FORMAT_PICKLE_H_
#define TESSERA_SHARD_LOADER_FORMAT_PICKLE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {

// Index into a Pickle's values; 0 is None.
using PickleRef = uint32_t;

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  // beyond 64 bits; its value is not kept
  kFloat,
  kString,
  kBytes,
  kList,
  kTuple,
  kSet,
  kDict,
  kGlobal,      // text: "module.name"
  kPersistent,  // items: the one value of the persistent id
  kTensor,      // integer: index into Pickle::tensors()
  kObject,      // an instance of the class in text; state: what it was given
};

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  int depth = 0;  // of containers inside of it
  union {
    int64_t integer = 0;  // kBool, kInt
    double real;          // kFloat
  };
  std::string_view text;         // kString, kBytes, kGlobal, kObject
  std::vector<PickleRef> items;  // list, tuple, set; dict: key, value, key, value
  PickleRef state = 0;           // kObject: of BUILD, else its arguments as a tuple
};

// A view of a storage, as torch._utils._rebuild_tensor_v2 is given it. Sizes and strides are
// checked against the storage's elements; those are checked by who reads the storage.
struct PickledTensor {
  std::string_view storage;  // its key
  StoredType type = StoredType::kF32;
  int64_t storage_bytes = 0;
  int64_t offset = 0;  // bytes
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // elements
};

// The type and size that a pickle gives to a storage.
struct PickledStorage {
  StoredType type = StoredType::kF32;
  int64_t bytes = 0;
};

struct PickleLimits {
  uint64_t max_memory = 1 << 20;  // bytes of all values together
  int max_depth = 64;             // of containers
};

// Immutable, thread-safe.
class Pickle {
 public:
  // One pickle at the front of `bytes`, which must outlive it; `file` begins the messages.
  // OUT_OF_RANGE: the bytes end before its STOP. DATA_LOSS: no valid pickle. UNIMPLEMENTED: calls
  // something that is not known. RESOURCE_EXHAUSTED: past a limit.
  static absl::StatusOr<Pickle> Parse(std::string_view bytes, const std::string& file,
                                      const PickleLimits& limits);

  const PickleValue& root() const { return at(root_); }
  const PickleValue& at(PickleRef ref) const { return values_[ref]; }
  const PickledTensor& tensor(const PickleValue& value) const { return tensors_[value.integer]; }
  // Of every persistent id, by its key.
  const absl::flat_hash_map<std::string_view, PickledStorage>& storages() const {
    return storages_;
  }
  size_t num_values() const { return values_.size(); }
  uint64_t bytes_used() const { return bytes_used_; }  // up to and with STOP

  // The value under a string key; null where `dict` is no dict or has no such key.
  const PickleValue* Find(const PickleValue& dict, std::string_view key) const;
  // The attribute of an object whose state is a dict, or the key of a dict.
  const PickleValue* Attribute(const PickleValue& object, std::string_view name) const;

 private:
  friend class PickleMachine;
  Pickle() = default;

  std::vector<PickleValue> values_;
  std::vector<PickledTensor> tensors_;
  absl::flat_hash_map<std::string_view, PickledStorage> storages_;
  std::deque<std::string> texts_;  // those that the pickle holds only escaped
  PickleRef root_ = 0;
  uint64_t bytes_used_ = 0;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_PICKLE_H_
