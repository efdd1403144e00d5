#include "shard_loader/model/jax.h"

#include <string>

namespace tessera::shard_loader {
namespace {

// A tree of parameters inside of a trainer's state.
constexpr std::string_view kPrefixes[] = {"train_state.", "state.", "target.", "params."};
constexpr std::string_view kOtherStates[] = {"opt_state.", "param_states.", "optimizer.", "step",
                                             "rng"};

bool TakeSuffix(std::string_view suffix, std::string* name) {
  if (!name->ends_with(suffix)) return false;
  name->resize(name->size() - suffix.size());
  return true;
}

}  // namespace

ForeignName HuggingFaceNameOfFlax(std::string_view path) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : kPrefixes) {
      if (!path.starts_with(prefix)) continue;
      path.remove_prefix(prefix.size());
      again = true;
    }
  }
  for (const std::string_view other : kOtherStates) {
    if (path.starts_with(other)) return {};
  }
  ForeignName out{std::string(path)};
  out.transposed = TakeSuffix(".kernel", &out.name);
  if (out.transposed || TakeSuffix(".embedding", &out.name) || TakeSuffix(".scale", &out.name)) {
    out.name += ".weight";
  }
  return out;
}

}  // namespace tessera::shard_loader
