// The variable `loop` of a for loop.
#ifndef TESSERA_SERVER_TEXT_JINJA_LOOP_H_
#define TESSERA_SERVER_TEXT_JINJA_LOOP_H_

#include <memory>
#include <vector>

#include "server/text/jinja_value.h"

namespace tessera::server::jinja {

// The attribute of a namespace that makes it callable; no template can write this name.
inline constexpr char kCallAttribute[] = "()";

// Borrows the items. What a template keeps of `loop` is empty after the loop.
class Loop {
 public:
  Loop(const std::vector<Value>& items, int depth);
  ~Loop() { space_->attributes = Dict(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void SetRecursion(Function function);
  void MoveTo(size_t index);
  Value value() const { return Value::FromNamespace(space_); }

 private:
  const std::vector<Value>& items_;
  std::shared_ptr<Namespace> space_;  // shared with the template's variable
};

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_LOOP_H_
