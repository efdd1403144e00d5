#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/pickle_machine.h"
#include "shard_loader/format/pickle_text.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using Handler = absl::Status (PickleMachine::*)(uint8_t opcode);

constexpr std::array<Handler, 256> MakeHandlers() {
  std::array<Handler, 256> table{};
  table.fill(&PickleMachine::Unknown);
  const auto set = [&table](std::string_view opcodes, Handler handler) {
    for (const char opcode : opcodes) table[static_cast<uint8_t>(opcode)] = handler;
  };
  set("JKMG\x8a\x8b", &PickleMachine::Number);
  set("FIL", &PickleMachine::TextNumber);
  set("TUXBC\x8c\x8d\x8e\x96", &PickleMachine::Text);
  set("SV", &PickleMachine::EscapedText);
  set("N\x88\x89", &PickleMachine::Constant);
  set("(012", &PickleMachine::Stack);
  set("pqrghj\x94", &PickleMachine::Memo);
  set("]l)t\x85\x86\x87}d\x8f\x91", &PickleMachine::Sequence);
  set("aesu\x90", &PickleMachine::Fill);
  set("c\x93PQ", &PickleMachine::Global);
  set("Rbio\x81\x92", &PickleMachine::Object);
  set("\x80\x95\x98.", &PickleMachine::Header);
  return table;
}

constexpr std::array<Handler, 256> kHandlers = MakeHandlers();

PickleValue Integer(PickleKind kind, int64_t value) {
  PickleValue out{.kind = kind};
  out.integer = value;
  return out;
}

PickleValue Real(double value) {
  PickleValue out{.kind = PickleKind::kFloat};
  out.real = value;
  return out;
}

}  // namespace

absl::StatusOr<Pickle> PickleMachine::Run() {
  while (!stopped_) {
    ASSIGN_OR_RETURN(const uint64_t opcode, Unsigned(1));
    RETURN_IF_ERROR((this->*kHandlers[opcode])(static_cast<uint8_t>(opcode)));
  }
  pickle_.bytes_used_ = position_;
  return std::move(pickle_);
}

absl::Status PickleMachine::Unknown(uint8_t opcode) {
  // 0x82 to 0x84: the extension registry of a running Python; 0x97: a buffer outside of the pickle.
  return Corrupt(absl::StrCat("unknown opcode ", static_cast<int>(opcode)));
}

absl::Status PickleMachine::Header(uint8_t opcode) {
  if (opcode == '.') {
    ASSIGN_OR_RETURN(pickle_.root_, Pop());
    stopped_ = true;
  } else if (opcode == 0x80) {  // PROTO
    ASSIGN_OR_RETURN(const uint64_t protocol, Unsigned(1));
    if (protocol > 5) return Corrupt(absl::StrCat("protocol ", protocol, ", expected up to 5"));
  } else if (opcode == 0x95) {  // FRAME: its length is of use to buffered readers only
    RETURN_IF_ERROR(Unsigned(8).status());
  }  // else 0x98, READONLY_BUFFER
  return absl::OkStatus();
}

absl::Status PickleMachine::PushInteger(std::string_view little_endian) {
  const size_t size = little_endian.size();
  const bool negative = size > 0 && (little_endian.back() & 0x80) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = size; i-- > 0;) {
    const auto byte = static_cast<uint8_t>(little_endian[i]);
    if (i < 8) {
      value = value << 8 | byte;
    } else if (byte != (negative ? 0xff : 0)) {
      return Push(Add({.kind = PickleKind::kBigInt}));
    }
  }
  const auto number = static_cast<int64_t>(value);
  if (size > 8 && (number < 0) != negative) return Push(Add({.kind = PickleKind::kBigInt}));
  return Push(Add(Integer(PickleKind::kInt, number)));
}

absl::Status PickleMachine::Number(uint8_t opcode) {
  if (opcode == 'G') {  // BINFLOAT: big-endian
    ASSIGN_OR_RETURN(const std::string_view raw, Take(8));
    uint64_t bits = 0;
    for (const char byte : raw) bits = bits << 8 | static_cast<uint8_t>(byte);
    return Push(Add(Real(std::bit_cast<double>(bits))));
  }
  if (opcode == 'K' || opcode == 'M') {  // unsigned
    ASSIGN_OR_RETURN(const uint64_t value, Unsigned(opcode == 'K' ? 1 : 2));
    return Push(Add(Integer(PickleKind::kInt, static_cast<int64_t>(value))));
  }
  uint64_t size = 4;
  if (opcode != 'J') {
    ASSIGN_OR_RETURN(size, Unsigned(opcode == 0x8a ? 1 : 4));
    if (size > INT32_MAX) return Corrupt("LONG4 with a negative length");
  }
  ASSIGN_OR_RETURN(const std::string_view raw, Take(size));
  return PushInteger(raw);
}

absl::Status PickleMachine::TextNumber(uint8_t opcode) {
  ASSIGN_OR_RETURN(std::string_view line, Line());
  if (opcode == 'I' && (line == "00" || line == "01")) {  // booleans of protocol 0
    return Push(Add(Integer(PickleKind::kBool, line == "01")));
  }
  if (opcode == 'L' && !line.empty() && line.back() == 'L') line.remove_suffix(1);
  const char* end = line.data() + line.size();
  if (opcode == 'F') {
    double value = 0;
    const auto [stop, error] = std::from_chars(line.data(), end, value);
    if (error != std::errc() || stop != end) return Corrupt("a FLOAT that is no number");
    return Push(Add(Real(value)));
  }
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(line.data(), end, value);
  if (stop != end || line.empty()) return Corrupt("an INT or LONG that is no number");
  if (error == std::errc::result_out_of_range) return Push(Add({.kind = PickleKind::kBigInt}));
  if (error != std::errc()) return Corrupt("an INT or LONG that is no number");
  return Push(Add(Integer(PickleKind::kInt, value)));
}

absl::Status PickleMachine::Text(uint8_t opcode) {
  int width = 4;
  if (opcode == 'U' || opcode == 'C' || opcode == 0x8c) width = 1;
  if (opcode == 0x8d || opcode == 0x8e || opcode == 0x96) width = 8;
  ASSIGN_OR_RETURN(const uint64_t size, Unsigned(width));
  if (opcode == 'T' && size > INT32_MAX) return Corrupt("BINSTRING with a negative length");
  ASSIGN_OR_RETURN(const std::string_view text, Take(size));
  const bool is_bytes = opcode == 'B' || opcode == 'C' || opcode == 0x8e || opcode == 0x96;
  return Push(Add({.kind = is_bytes ? PickleKind::kBytes : PickleKind::kString, .text = text}));
}

absl::Status PickleMachine::EscapedText(uint8_t opcode) {
  ASSIGN_OR_RETURN(const std::string_view line, Line());
  std::string text;
  const bool fine = opcode == 'S' ? UnescapeString(line, &text) : UnescapeUnicode(line, &text);
  if (!fine) return Corrupt("a STRING or UNICODE with a broken quote or escape");
  return Push(AddText(PickleKind::kString, std::move(text)));
}

absl::Status PickleMachine::Constant(uint8_t opcode) {
  if (opcode == 'N') return Push(PickleRef{0});
  return Push(Add(Integer(PickleKind::kBool, opcode == 0x88)));
}

absl::Status PickleMachine::Stack(uint8_t opcode) {
  if (opcode == '(') {  // MARK
    RETURN_IF_ERROR(Charge(sizeof(size_t)));
    marks_.push_back(stack_.size());
    return absl::OkStatus();
  }
  if (opcode == '1') return PopToMark().status();  // POP_MARK
  if (opcode == '2') return Push(Top());           // DUP
  if (!marks_.empty() && marks_.back() == stack_.size()) {
    marks_.pop_back();  // POP of a mark
    return absl::OkStatus();
  }
  return Pop().status();
}

absl::Status PickleMachine::Store(uint64_t index) {
  ASSIGN_OR_RETURN(const PickleRef top, Top());
  RETURN_IF_ERROR(Charge(32));
  memo_[index] = top;
  return absl::OkStatus();
}

absl::Status PickleMachine::Memo(uint8_t opcode) {
  if (opcode == 0x94) return Store(memo_.size());  // MEMOIZE
  uint64_t index = 0;
  if (opcode == 'p' || opcode == 'g') {
    ASSIGN_OR_RETURN(const std::string_view line, Line());
    const char* end = line.data() + line.size();
    const auto [stop, error] = std::from_chars(line.data(), end, index);
    if (error != std::errc() || stop != end) return Corrupt("a memo index that is no number");
  } else {
    ASSIGN_OR_RETURN(index, Unsigned(opcode == 'q' || opcode == 'h' ? 1 : 4));
  }
  if (opcode == 'p' || opcode == 'q' || opcode == 'r') return Store(index);
  const auto found = memo_.find(index);
  if (found == memo_.end()) return Corrupt("a memo entry that was never stored");
  return Push(found->second);
}

absl::Status PickleMachine::Sequence(uint8_t opcode) {
  std::vector<PickleRef> items;
  if (opcode == 'l' || opcode == 't' || opcode == 'd' || opcode == 0x91) {
    ASSIGN_OR_RETURN(items, PopToMark());
  } else if (opcode >= 0x85 && opcode <= 0x87) {  // TUPLE1 to TUPLE3
    items.resize(opcode - 0x84);
    for (size_t i = items.size(); i-- > 0;) {
      ASSIGN_OR_RETURN(items[i], Pop());
    }
  }
  PickleKind kind = PickleKind::kTuple;
  if (opcode == ']' || opcode == 'l') kind = PickleKind::kList;
  if (opcode == 0x8f || opcode == 0x91) kind = PickleKind::kSet;
  if (opcode == '}' || opcode == 'd') kind = PickleKind::kDict;
  if (kind == PickleKind::kDict && items.size() % 2 != 0) return Corrupt("a key without a value");
  return Push(AddContainer(kind, std::move(items)));
}

absl::Status PickleMachine::Fill(uint8_t opcode) {
  std::vector<PickleRef> items;
  if (opcode == 'a' || opcode == 's') {
    items.resize(opcode == 'a' ? 1 : 2);
    for (size_t i = items.size(); i-- > 0;) {
      ASSIGN_OR_RETURN(items[i], Pop());
    }
  } else {
    ASSIGN_OR_RETURN(items, PopToMark());
  }
  ASSIGN_OR_RETURN(const PickleRef target, Top());
  PickleKind expected = PickleKind::kDict;
  if (opcode == 'a' || opcode == 'e') expected = PickleKind::kList;
  if (opcode == 0x90) expected = PickleKind::kSet;
  if (at(target).kind != expected) return Corrupt("items for what is no container of that kind");
  if (expected == PickleKind::kDict && items.size() % 2 != 0) {
    return Corrupt("a key without a value");
  }
  return Append(target, items);
}

absl::StatusOr<PickleRef> PickleMachine::MakeGlobal(std::string_view module,
                                                    std::string_view name) {
  return AddText(PickleKind::kGlobal, absl::StrCat(std::string(module), ".", std::string(name)));
}

absl::Status PickleMachine::Global(uint8_t opcode) {
  if (opcode == 'c') {
    ASSIGN_OR_RETURN(const std::string_view module, Line());
    ASSIGN_OR_RETURN(const std::string_view name, Line());
    return Push(MakeGlobal(module, name));
  }
  if (opcode == 0x93) {  // STACK_GLOBAL
    ASSIGN_OR_RETURN(const PickleRef name, Pop());
    ASSIGN_OR_RETURN(const PickleRef module, Pop());
    if (at(name).kind != PickleKind::kString || at(module).kind != PickleKind::kString) {
      return Corrupt("a global whose name is no string");
    }
    return Push(MakeGlobal(at(module).text, at(name).text));
  }
  PickleRef id = 0;
  if (opcode == 'P') {  // PERSID: an ASCII line
    ASSIGN_OR_RETURN(const std::string_view line, Line());
    ASSIGN_OR_RETURN(id, Add({.kind = PickleKind::kString, .text = line}));
  } else {
    ASSIGN_OR_RETURN(id, Pop());
  }
  RETURN_IF_ERROR(RegisterStorage(id));
  return Push(AddContainer(PickleKind::kPersistent, {id}));
}

absl::Status PickleMachine::Object(uint8_t opcode) {
  if (opcode == 'b') return Build();
  PickleRef callable = 0;
  PickleRef arguments = 0;
  if (opcode == 'i' || opcode == 'o') {  // INST, OBJ: a class of Python 2 with its arguments
    if (opcode == 'i') {
      ASSIGN_OR_RETURN(const std::string_view module, Line());
      ASSIGN_OR_RETURN(const std::string_view name, Line());
      ASSIGN_OR_RETURN(callable, MakeGlobal(module, name));
    }
    ASSIGN_OR_RETURN(std::vector<PickleRef> items, PopToMark());
    if (opcode == 'o') {
      if (items.empty()) return Corrupt("OBJ without a class");
      callable = items.front();
      items.erase(items.begin());
    }
    ASSIGN_OR_RETURN(arguments, AddContainer(PickleKind::kTuple, std::move(items)));
    return Push(Call(callable, arguments));
  }
  if (opcode == 0x92) {  // NEWOBJ_EX: keyword arguments
    ASSIGN_OR_RETURN(const PickleRef keywords, Pop());
    if (at(keywords).kind != PickleKind::kDict) return Corrupt("keyword arguments are no dict");
  }
  ASSIGN_OR_RETURN(arguments, Pop());
  ASSIGN_OR_RETURN(callable, Pop());
  return Push(opcode == 'R' ? Call(callable, arguments) : NewObject(callable, arguments));
}

absl::Status PickleMachine::Build() {
  ASSIGN_OR_RETURN(const PickleRef state, Pop());
  ASSIGN_OR_RETURN(const PickleRef target, Top());
  const PickleValue& given = at(state);
  if (given.kind == PickleKind::kDict) {
    for (size_t i = 0; i < given.items.size(); i += 2) {
      const PickleValue& key = at(given.items[i]);
      if (key.kind == PickleKind::kString && key.text.substr(0, 2) == "__") {
        return Refuse(absl::StrCat("BUILD with ", std::string(key.text)));
      }
    }
  }
  PickleValue& value = pickle_.values_[target];
  switch (value.kind) {
    case PickleKind::kObject:
      value.state = state;
      value.depth = std::max(value.depth, at(state).depth + 1);
      return value.depth <= limits_.max_depth ? absl::OkStatus()
                                              : Corrupt("objects nested too deep");
    case PickleKind::kDict:    // attributes of an OrderedDict, such as _metadata
    case PickleKind::kTensor:  // attributes of a Parameter
      return absl::OkStatus();
    default:
      return Corrupt("BUILD on a value that has no attributes");
  }
}

}  // namespace tessera::shard_loader
