#include "server/text/jinja_loop.h"

#include <algorithm>
#include <utility>

#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"

namespace tessera::server::jinja {
namespace {

// The attributes that change, in the order in which they lie in the namespace.
enum Attribute { kIndex, kIndex0, kRevIndex, kRevIndex0, kFirst, kLast, kPrevItem, kNextItem };
constexpr const char* kNames[] = {"index", "index0", "revindex", "revindex0",
                                  "first", "last",   "previtem", "nextitem"};

}  // namespace

Loop::Loop(const std::vector<Value>& items, int depth)
    : items_(items), space_(std::make_shared<Namespace>()) {
  Dict& attributes = space_->attributes;
  for (const char* name : kNames) attributes.Set(Value::String(name), Value());
  attributes.Set(Value::String("length"), Value::Int(static_cast<int64_t>(items.size())));
  attributes.Set(Value::String("depth"), Value::Int(depth));
  attributes.Set(Value::String("depth0"), Value::Int(depth - 1));
  // The loop's own state; the functions are gone when the loop is.
  const std::weak_ptr<Namespace> space = space_;
  attributes.Set(
      Value::String("cycle"),
      Value::FromCallable(
          "cycle", [space](Interpreter&, const Arguments& arguments) -> absl::StatusOr<Value> {
            const auto loop = space.lock();
            const auto& values = arguments.positional;
            if (values.empty() || loop == nullptr || loop->attributes.entries.empty()) {
              return TemplateError("loop.cycle() needs something to choose from");
            }
            const auto index = loop->attributes.entries[kIndex0].second.integer();
            return values[static_cast<size_t>(index) % values.size()];
          }));
  const auto last = std::make_shared<std::vector<Value>>();  // owned by the function
  const auto called = std::make_shared<bool>(false);
  attributes.Set(
      Value::String("changed"),
      Value::FromCallable(
          "changed",
          [last, called](Interpreter&, const Arguments& arguments) -> absl::StatusOr<Value> {
            const bool same =
                std::exchange(*called, true) && last->size() == arguments.positional.size() &&
                std::equal(last->begin(), last->end(), arguments.positional.begin(), Equal);
            *last = arguments.positional;
            return Value::Bool(!same);
          }));
}

void Loop::SetRecursion(Function function) {
  space_->attributes.Set(Value::String(kCallAttribute),
                         Value::FromCallable("loop", std::move(function)));
}

void Loop::MoveTo(size_t index) {
  auto& entries = space_->attributes.entries;
  const auto at = static_cast<int64_t>(index);
  const auto count = static_cast<int64_t>(items_.size());
  entries[kIndex].second = Value::Int(at + 1);
  entries[kIndex0].second = Value::Int(at);
  entries[kRevIndex].second = Value::Int(count - at);
  entries[kRevIndex0].second = Value::Int(count - at - 1);
  entries[kFirst].second = Value::Bool(index == 0);
  entries[kLast].second = Value::Bool(at + 1 == count);
  entries[kPrevItem].second =
      index > 0 ? items_[index - 1] : Value::Undefined("there is no previous item");
  entries[kNextItem].second =
      at + 1 < count ? items_[index + 1] : Value::Undefined("there is no next item");
}

}  // namespace tessera::server::jinja
