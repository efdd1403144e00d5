#include "shard_loader/format/pickle.h"

#include <catch2/catch.hpp>
#include <filesystem>

namespace tessera::shard_loader {
namespace {

using namespace std::string_literals;

absl::StatusOr<Pickle> Parse(const std::string& bytes, const PickleLimits& limits = {}) {
  static std::string kept;  // values point into it
  kept = bytes;
  return Pickle::Parse(kept, "test.pkl", limits);
}

Pickle MustParse(const std::string& bytes) {
  absl::StatusOr<Pickle> pickle = Parse(bytes);
  INFO(pickle.status().ToString());
  REQUIRE(pickle.ok());
  return *std::move(pickle);
}

// (storage, 2, (2, 3), (3, 1)) of a FloatStorage of `elements`, called as _rebuild_tensor_v2.
std::string TensorPickle(const std::string& arguments, const std::string& elements = "K\x14") {
  return "\x80\x02"
         "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"s +
         "FloatStorage\nX\x01\x00\x00\x00"s + "0X\x03\x00\x00\x00"s + "cpu" + elements + "tQ" +
         arguments + "tR.";
}

TEST_CASE("numbers of every protocol keep their value") {
  CHECK(MustParse("I42\n.").root().integer == 42);
  CHECK(MustParse("I01\n.").root().kind == PickleKind::kBool);
  CHECK(MustParse("L-7L\n.").root().integer == -7);
  CHECK(MustParse("F1.5\n.").root().real == 1.5);
  CHECK(MustParse("\x80\x02K\xff.").root().integer == 255);
  CHECK(MustParse("\x80\x02J\xfe\xff\xff\xff."s).root().integer == -2);
  CHECK(MustParse("\x80\x02M\x34\x12.").root().integer == 0x1234);
  CHECK(MustParse("\x80\x02\x8a\x02\x00\xff."s).root().integer == -256);
  CHECK(MustParse("\x80\x02\x8a\x00."s).root().integer == 0);
  CHECK(MustParse("\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00."s).root().kind ==
        PickleKind::kBigInt);
  CHECK(MustParse("\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00."s).root().integer ==
        INT64_MAX);
  CHECK(MustParse("L123456789012345678901234567890L\n.").root().kind == PickleKind::kBigInt);
  CHECK(MustParse("G\x3f\xf8\x00\x00\x00\x00\x00\x00."s).root().real == 1.5);
}

TEST_CASE("strings of every protocol keep their text") {
  CHECK(MustParse("S'a\\x41\\n\\\\'\n.").root().text == "aA\n\\");
  CHECK(MustParse("V\\u20ac\xe9\n.").root().text == "\xe2\x82\xac\xc3\xa9");
  CHECK(MustParse("X\x02\x00\x00\x00hi."s).root().text == "hi");
  CHECK(MustParse("\x80\x04\x8c\x02hi."s).root().text == "hi");
  CHECK(MustParse("\x80\x04\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi."s).root().text == "hi");
  const Pickle bytes = MustParse(
      "\x80\x03"
      "C\x02hi.");
  CHECK(bytes.root().kind == PickleKind::kBytes);
  CHECK(bytes.root().text == "hi");
}

TEST_CASE("containers nest, share values through the memo, and dicts are found by key") {
  // {'a': [1, (2, 3)], 'b': <the same list>}, protocol 2 and protocol 0
  for (const std::string& bytes : {"\x80\x02}q\x00(X\x01\x00\x00\x00"s +
                                       "a]q\x01(K\x01K\x02K\x03\x86"
                                       "eX\x01\x00\x00\x00"s +
                                       "bh\x01u."s,
                                   "(dp0\nS'a'\n(lp1\nI1\na(I2\nI3\ntasS'b'\ng1\ns."s}) {
    const Pickle pickle = MustParse(bytes);
    const PickleValue* a = pickle.Find(pickle.root(), "a");
    REQUIRE(a != nullptr);
    CHECK(a == pickle.Find(pickle.root(), "b"));
    REQUIRE(a->items.size() == 2);
    CHECK(pickle.at(a->items[0]).integer == 1);
    CHECK(pickle.at(a->items[1]).kind == PickleKind::kTuple);
    CHECK(pickle.Find(pickle.root(), "c") == nullptr);
    CHECK(pickle.bytes_used() == bytes.size());
  }
}

TEST_CASE("a global that is not called is an inert value") {
  const Pickle pickle = MustParse("cposix\nsystem\n.");
  CHECK(pickle.root().kind == PickleKind::kGlobal);
  CHECK(pickle.root().text == "posix.system");
  CHECK(MustParse("\x80\x04\x8c\x05posix\x8c\x06system\x93."s).root().text == "posix.system");
}

TEST_CASE("every way to call an unknown global is refused by its name") {
  const std::string argument = "X\x17\x00\x00\x00touch /tmp/PWNED_pickle"s;
  const std::string global = "cposix\nsystem\n";
  for (const std::string& bytes : {
           "\x80\x02" + global + argument + "\x85R.",                        // REDUCE
           "(" + argument + "iposix\nsystem\n.",                             // INST
           "(" + global + argument + "o.",                                   // OBJ
           "\x80\x02" + global + argument + "\x85\x81.",                     // NEWOBJ
           "\x80\x04" + global + argument + "\x85}\x92.",                    // NEWOBJ_EX
           "\x80\x04\x8c\x05posix\x8c\x06system\x93" + argument + "\x85R.",  // STACK_GLOBAL
           "ccopyreg\n_reconstructor\n(" + global + "cbuiltins\nobject\nNtR.",
           "ctorch._tensor\n_rebuild_from_type_v2\n(" + global + "N(" + argument + "tNtR.",
       }) {
    const absl::StatusOr<Pickle> pickle = Parse(bytes);
    INFO(pickle.status().ToString());
    CHECK(absl::IsUnimplemented(pickle.status()));
    CHECK(pickle.status().message().find("'posix.system'") != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists("/tmp/PWNED_pickle"));
}

TEST_CASE("objects of known classes keep their attributes as data") {
  const Pickle pickle = MustParse(
      "\x80\x02"
      "cargparse\nNamespace\n)\x81}(X\x0a\x00\x00\x00num_layersK\x04X\x05\x00\x00\x00"s +
      "modelcmegatron.core.enums\nModelType\nK\x01\x85Rub.");
  const PickleValue* layers = pickle.Attribute(pickle.root(), "num_layers");
  REQUIRE(layers != nullptr);
  CHECK(layers->integer == 4);
  CHECK(pickle.Attribute(pickle.root(), "model")->text == "megatron.core.enums.ModelType");
}

TEST_CASE("BUILD may not set names that Python looks up itself") {
  const auto built = Parse(
      "\x80\x02"
      "ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__cposix\nsystem\nsb."s);
  CHECK(absl::IsUnimplemented(built.status()));
}

TEST_CASE("a tensor is a view of a storage") {
  const Pickle pickle = MustParse(TensorPickle("K\x02K\x02K\x03\x86K\x03K\x01\x86"));
  REQUIRE(pickle.root().kind == PickleKind::kTensor);
  const PickledTensor& tensor = pickle.tensor(pickle.root());
  CHECK(tensor.storage == "0");
  CHECK(tensor.type == StoredType::kF32);
  CHECK(tensor.offset == 8);
  CHECK(tensor.storage_bytes == 80);
  CHECK(tensor.shape == std::vector<int64_t>{2, 3});
  CHECK(tensor.strides == std::vector<int64_t>{3, 1});
}

TEST_CASE("a tensor that its storage cannot hold is refused") {
  for (const char* arguments : {
           "K\x0fK\x02K\x03\x86K\x03K\x01\x86",              // 15 + 6 > 20
           "J\xff\xff\xff\xffK\x02K\x03\x86K\x03K\x01\x86",  // offset -1
           "K\x01K\x05K\x05\x86K\x01K\x01\x86",              // 25 elements over 20
           "K\x01K\x02K\x03\x86K\x14K\x01\x86",              // stride 20
           "K\x01J\xfe\xff\xff\xffK\x03\x86K\x03K\x01\x86",  // size -2
           "K\x01K\x02\x85K\x03K\x01\x86",                   // more strides than sizes
       }) {
    CHECK(absl::IsDataLoss(Parse(TensorPickle(arguments)).status()));
  }
  CHECK(absl::IsDataLoss(
      Parse(TensorPickle("K\x01K\x02K\x03\x86K\x03K\x01\x86", "J\xff\xff\xff\xff")).status()));
}

TEST_CASE("a pickle that ends early asks for more bytes") {
  const std::string whole = TensorPickle("K\x02K\x02K\x03\x86K\x03K\x01\x86");
  for (size_t size = 0; size < whole.size(); ++size) {
    CHECK(absl::IsOutOfRange(Parse(whole.substr(0, size)).status()));
  }
}

TEST_CASE("broken programs are refused") {
  for (const std::string& bytes : {
           "."s,
           "0."s,
           "R."s,
           "(\x85."s,
           "t."s,
           "h\x00."s,
           "g5\n."s,
           "gx\n."s,
           "(K\x01u."s,
           "](K\x01u."s,
           "}(K\x01u."s,
           "}K\x01"s + "a."s,
           "\x80\x09N."s,
           "\x82\x01."s,
           "\x97."s,
           "\xff"s,
           "I1x\n."s,
           "Fx\n."s,
           "S'a\n."s,
           "V\\u12\n."s,
           "\x8b\xff\xff\xff\xff."s,
           "T\xff\xff\xff\xff."s,
           "NNR."s,
           "K\x01K\x02\x93."s,
           "N}b."s,
           "K\x01Q."s,
           "(o."s,
       }) {
    INFO(bytes);
    CHECK(absl::IsDataLoss(Parse(bytes).status()));
  }
}

TEST_CASE("depth and memory are bounded") {
  std::string deep(100'000, '\x85');
  CHECK(absl::IsResourceExhausted(Parse(")" + deep + ".").status()));
  std::string lists;
  for (int i = 0; i < 100; ++i) lists += "]";
  for (int i = 0; i < 99; ++i) lists += "a";
  CHECK(absl::IsDataLoss(Parse(lists + ".").status()));
  std::string many;
  for (int i = 0; i < 100'000; ++i)
    many +=
        "K\x01"
        "0";
  CHECK(absl::IsResourceExhausted(Parse(many + "N.").status()));
  CHECK(absl::IsResourceExhausted(Parse(std::string(200'000, '(') + "N.").status()));
  // The memo is a map: one entry at the last index costs one entry.
  CHECK(MustParse("Nr\xff\xff\xff\xff.").root().kind == PickleKind::kNone);
}

}  // namespace
}  // namespace tessera::shard_loader
