// The callables that a pickle of weights needs, each as a value made here. Whatever is not in these
// lists is refused by its name.
#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/pickle_machine.h"
#include "shard_loader/format/torch_types.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using Arguments = absl::Span<const PickleRef>;

template <size_t N>
bool IsOneOf(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Values that no weight depends on: they become inert objects.
constexpr std::array<std::string_view, 17> kInertCalls = {
    "torch.device",
    "torch.serialization._get_layout",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "pathlib.PosixPath",
    "pathlib._local.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "datetime.datetime",
    "datetime.timedelta",
    "builtins.complex",
    "__builtin__.complex",
    "builtins.slice",
    "torch._utils._rebuild_meta_tensor_no_storage",
};

// Classes whose instances are data with attributes; nothing of theirs runs.
constexpr std::array<std::string_view, 6> kInertClasses = {
    "argparse.Namespace",    "_io.BytesIO",     "io.BytesIO",
    "types.SimpleNamespace", "builtins.object", "__builtin__.object",
};
constexpr std::array<std::string_view, 4> kInertPackages = {
    "megatron.", "deepspeed.", "transformer_engine.", "torch.distributed.checkpoint."};

bool InPackage(std::string_view name) {
  return std::any_of(kInertPackages.begin(), kInertPackages.end(), [name](std::string_view prefix) {
    return name.substr(0, prefix.size()) == prefix;
  });
}

bool IsInertClass(std::string_view name) { return IsOneOf(name, kInertClasses) || InPackage(name); }

}  // namespace

absl::StatusOr<PickleRef> PickleMachine::NewObject(PickleRef type, PickleRef arguments) {
  if (at(type).kind != PickleKind::kGlobal) return Corrupt("an object of what is no class");
  if (at(arguments).kind != PickleKind::kTuple) return Corrupt("arguments that are no tuple");
  if (at(type).text == "collections.OrderedDict") return Call(type, arguments);
  if (!IsInertClass(at(type).text)) return Refuse(at(type).text);
  return AddObject(at(type).text, arguments);
}

absl::StatusOr<PickleRef> PickleMachine::DictFromPairs(Arguments arguments) {
  std::vector<PickleRef> items;
  if (!arguments.empty()) {
    const PickleValue& pairs = at(arguments[0]);
    if (pairs.kind == PickleKind::kDict) return arguments[0];
    if (pairs.kind != PickleKind::kList && pairs.kind != PickleKind::kTuple) {
      return Corrupt("an OrderedDict of what are no pairs");
    }
    RETURN_IF_ERROR(Charge(pairs.items.size() * 2 * sizeof(PickleRef)));
    for (const PickleRef ref : pairs.items) {
      const PickleValue& pair = at(ref);
      const bool is_pair = (pair.kind == PickleKind::kTuple || pair.kind == PickleKind::kList) &&
                           pair.items.size() == 2;
      if (!is_pair) return Corrupt("an OrderedDict of what are no pairs");
      items.insert(items.end(), pair.items.begin(), pair.items.end());
    }
  }
  return AddContainer(PickleKind::kDict, std::move(items));
}

absl::StatusOr<PickleRef> PickleMachine::Call(PickleRef callable, PickleRef arguments) {
  if (at(callable).kind != PickleKind::kGlobal) return Corrupt("a call of what is no function");
  if (at(arguments).kind != PickleKind::kTuple) return Corrupt("arguments that are no tuple");
  const std::string_view name = at(callable).text;
  const std::vector<PickleRef> given = at(arguments).items;
  const auto first_is = [&](PickleKind kind) {
    return !given.empty() && at(given[0]).kind == kind;
  };

  if (name == "collections.OrderedDict") return DictFromPairs(given);
  if (name == "collections.defaultdict") return AddContainer(PickleKind::kDict, {});
  if (name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_tensor") {
    return RebuildTensor(given, /*typed=*/false);
  }
  if (name == "torch._utils._rebuild_tensor_v3") return RebuildTensor(given, /*typed=*/true);
  if (name == "torch._utils._rebuild_parameter" ||
      name == "torch._utils._rebuild_parameter_with_state") {
    if (!first_is(PickleKind::kTensor)) return Corrupt("a Parameter of what is no tensor");
    return given[0];
  }
  if (name == "torch._tensor._rebuild_from_type_v2" && given.size() >= 3) {
    // (function, type, arguments, state) of a tensor class: the plain tensor below it.
    const std::string_view inner = at(given[0]).text;
    if (at(given[0]).kind != PickleKind::kGlobal || inner == name) return Refuse(name);
    return Call(given[0], given[2]);
  }
  if (name == "torch.Size") {
    const bool is_tuple = first_is(PickleKind::kTuple) || first_is(PickleKind::kList);
    return is_tuple ? given[0] : AddContainer(PickleKind::kTuple, {});
  }
  if (name == "__builtin__.set" || name == "builtins.set" || name == "builtins.frozenset" ||
      name == "__builtin__.frozenset") {
    std::vector<PickleRef> items;
    if (first_is(PickleKind::kList) || first_is(PickleKind::kTuple)) items = at(given[0]).items;
    return AddContainer(PickleKind::kSet, std::move(items));
  }
  if (name == "_codecs.encode" || name == "__builtin__.bytes" || name == "builtins.bytes" ||
      name == "builtins.bytearray" || name == "__builtin__.bytearray") {
    // Protocol 2 writes bytes as the Latin-1 characters of a string; no weights lie in such.
    return Add({.kind = PickleKind::kBytes});
  }
  if ((name == "copyreg._reconstructor" || name == "copy_reg._reconstructor") && !given.empty()) {
    return NewObject(given[0], arguments);
  }
  if (IsOneOf(name, kInertCalls)) return AddObject(name, arguments);
  // A member of an enumeration: Class(value).
  const bool is_member =
      given.size() == 1 && (first_is(PickleKind::kInt) || first_is(PickleKind::kString));
  if (InPackage(name) && is_member) return AddObject(name, arguments);
  return Refuse(name);
}

absl::StatusOr<PickledTensor> PickleMachine::StorageOf(PickleRef ref, PickledStorage* whole) const {
  const PickleValue& id = at(ref);
  // ('storage', type, key, location, elements[, (view key, offset, elements) or None])
  const auto item = [&](size_t i) -> const PickleValue& { return at(id.items[i]); };
  if (id.kind != PickleKind::kTuple || id.items.size() < 5 || item(0).text != "storage" ||
      item(1).kind != PickleKind::kGlobal || item(2).kind != PickleKind::kString ||
      item(4).kind != PickleKind::kInt) {
    return Corrupt("a persistent id that is no storage");
  }
  if (!TorchStorageType(item(1).text, &whole->type)) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file_, ": a tensor lies in a storage of the type '",
                     Excerpt(item(1).text), "', which is not supported"));
  }
  int64_t elements = item(4).integer;
  int64_t begin = 0;
  const bool is_view = id.items.size() > 5 && item(5).kind == PickleKind::kTuple;
  if (is_view) {
    const std::vector<PickleRef>& view = item(5).items;
    const bool is_number = view.size() == 3 && at(view[1]).kind == PickleKind::kInt &&
                           at(view[2]).kind == PickleKind::kInt;
    if (!is_number) return Corrupt("a storage view that is none");
    begin = at(view[1]).integer;
    elements = at(view[2]).integer;
  }
  constexpr int64_t kMost = int64_t{1} << 46;
  const int64_t all = item(4).integer;
  if (all < 0 || all > kMost || begin < 0 || begin > all || elements < 0 ||
      elements > all - begin) {
    return Corrupt("a storage of an impossible size");
  }
  const int64_t size = BlockOf(whole->type).bytes;
  whole->bytes = all * size;
  return PickledTensor{.storage = item(2).text,
                       .type = whole->type,
                       .storage_bytes = elements * size,
                       .offset = begin * size};
}

absl::Status PickleMachine::RegisterStorage(PickleRef id) {
  PickledStorage whole;
  ASSIGN_OR_RETURN(const PickledTensor part, StorageOf(id, &whole));
  RETURN_IF_ERROR(Charge(64));
  const auto [found, is_new] = pickle_.storages_.try_emplace(part.storage, whole);
  if (!is_new && (found->second.bytes != whole.bytes || found->second.type != whole.type)) {
    return Corrupt("one storage with two types or sizes");
  }
  return absl::OkStatus();
}

namespace {

// Sizes or strides: a tuple of numbers that are not negative.
bool ReadSizes(const PickleMachine& machine, const PickleValue& tuple, std::vector<int64_t>* out) {
  if (tuple.kind != PickleKind::kTuple && tuple.kind != PickleKind::kList) return false;
  for (const PickleRef ref : tuple.items) {
    const PickleValue& number = machine.at(ref);
    if (number.kind != PickleKind::kInt || number.integer < 0) return false;
    out->push_back(number.integer);
  }
  return true;
}

// The last element's index; false where it is not below `elements`.
bool LastInside(const PickledTensor& tensor, int64_t first, int64_t elements) {
  int64_t room = elements - 1 - first;
  if (first >= elements) return false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const int64_t steps = tensor.shape[i] - 1;
    if (steps == 0 || tensor.strides[i] == 0) continue;
    if (tensor.strides[i] > room / steps) return false;
    room -= tensor.strides[i] * steps;
  }
  return true;
}

}  // namespace

absl::StatusOr<PickleRef> PickleMachine::RebuildTensor(Arguments arguments, bool typed) {
  // v2: (storage, offset, size, stride, requires_grad, hooks[, metadata]); v3 adds the dtype.
  if (arguments.size() < (typed ? 7 : 4)) return Corrupt("a tensor with too few arguments");
  if (at(arguments[0]).kind != PickleKind::kPersistent) {
    return Corrupt("a tensor of what is no storage");
  }
  PickledStorage whole;
  ASSIGN_OR_RETURN(PickledTensor tensor, StorageOf(at(arguments[0]).items[0], &whole));
  if (typed && (at(arguments[6]).kind != PickleKind::kGlobal ||
                !TorchDType(at(arguments[6]).text, &tensor.type))) {
    return Corrupt("a tensor of an unknown dtype");
  }
  const PickleValue& first = at(arguments[1]);
  if (first.kind != PickleKind::kInt || first.integer < 0) {
    return Corrupt("a tensor with a negative offset into its storage");
  }
  if (!ReadSizes(*this, at(arguments[2]), &tensor.shape) ||
      !ReadSizes(*this, at(arguments[3]), &tensor.strides) ||
      tensor.shape.size() != tensor.strides.size() || tensor.shape.size() > 8) {
    return Corrupt("a tensor with sizes or strides that are none");
  }
  const int64_t size = BlockOf(tensor.type).bytes;
  const int64_t elements = tensor.storage_bytes / size;
  int64_t count = 1;
  for (const int64_t dimension : tensor.shape) {
    if (dimension != 0 && count > elements / dimension) {
      return Corrupt("a tensor with more elements than its storage");
    }
    count *= dimension;
  }
  if (count > 0 && !LastInside(tensor, first.integer, elements)) {
    return Corrupt("a tensor that lies past the end of its storage");
  }
  tensor.offset += count > 0 ? first.integer * size : 0;
  return AddTensor(std::move(tensor));
}

}  // namespace tessera::shard_loader
