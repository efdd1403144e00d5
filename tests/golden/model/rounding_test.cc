// Weights and cache in 16 bits, teacher-forced, against f32 on the same rounded weights.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "shard_loader/format/safetensors.h"
#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"
#include "worker/tensor/convert.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using shard_loader::DType;
using shard_loader::KvFormat;
using worker::SequenceStart;
using worker::Token;

float Rounded(float value, DType dtype) {
  return dtype == DType::kBF16 ? worker::BF16ToFloat(worker::FloatToBF16(value))
                               : worker::F16ToFloat(worker::FloatToF16(value));
}

// A copy in f32 of a checkpoint of one file, its matrices rounded to `dtype`. Vectors stay: the
// worker keeps them in fp32. Returns in which dtype those were stored.
DType WriteRounded(const std::filesystem::path& from, const std::filesystem::path& to,
                   DType dtype) {
  std::filesystem::copy_file(from / "config.json", to / "config.json");
  const std::string file = ReadFile(from / "model.safetensors");
  uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), sizeof(header_size));
  json header = json::parse(file.substr(8, header_size));
  header.erase("__metadata__");
  std::string data;
  DType stored = DType::kF32;
  for (auto& [name, tensor] : header.items()) {
    const DType of_tensor = shard_loader::WeightDType(tensor["dtype"]).value();
    const int64_t begin = tensor["data_offsets"][0], end = tensor["data_offsets"][1];
    std::vector<float> values((end - begin) / shard_loader::DTypeSize(of_tensor));
    worker::WidenElements(reinterpret_cast<const std::byte*>(file.data()) + 8 + header_size + begin,
                          of_tensor, static_cast<int64_t>(values.size()), values.data());
    if (tensor["shape"].size() == 2) {
      stored = of_tensor;
      for (float& value : values) value = Rounded(value, dtype);
    }
    tensor["dtype"] = "F32";
    const size_t bytes = values.size() * sizeof(float);
    tensor["data_offsets"] = {data.size(), data.size() + bytes};
    data.append(reinterpret_cast<const char*>(values.data()), bytes);
  }
  const std::string text = header.dump();
  header_size = text.size();
  std::ofstream out(to / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&header_size), sizeof(header_size));
  out << text << data;
  return stored;
}

// Logprobs of the whole vocabulary at every position of the golden prompts.
std::vector<Answer> TeacherForced(const std::filesystem::path& model, const json& golden,
                                  const shard_loader::WeightFormat& dtype,
                                  const KvFormat& kv_dtype) {
  GroupOptions options;
  options.dtype = dtype;
  options.kv_dtype = kv_dtype;
  Group group(model, options);
  std::vector<SequenceStart> starts;
  for (const json& prompt : golden["prompts"]) {
    SequenceStart start = GreedyStart(prompt["input_ids"], 1);
    start.logprobs = golden["vocab_size"];
    start.prompt_logprobs = golden["vocab_size"];
    starts.push_back(start);
  }
  return group.Generate(starts);
}

std::vector<float> ById(const Token& token) {
  std::vector<float> logprobs(token.top.size());
  for (const worker::TopToken& top : token.top) logprobs[top.id] = top.logprob;
  return logprobs;
}

// |a - b| / |a| in the 2-norm over the vocabulary.
double RelativeDistance(const Token& a, const Token& b) {
  const std::vector<float> exact = ById(a);
  const std::vector<float> rounded = ById(b);
  double squares = 0, difference = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    squares += double{exact[i]} * exact[i];
    difference += std::pow(double{exact[i]} - rounded[i], 2);
  }
  return std::sqrt(difference / squares);
}

// The largest |a - b| over the vocabulary.
double LargestDistance(const Token& a, const Token& b) {
  const std::vector<float> left = ById(a), right = ById(b);
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    largest = std::max(largest, std::abs(double{left[i]} - right[i]));
  }
  return largest;
}

// The worst over all positions.
double Worst(double (*distance)(const Token&, const Token&), const std::vector<Answer>& exact,
             const std::vector<Answer>& rounded) {
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    for (size_t p = 0; p < exact[i].prompt_tokens.size(); ++p) {
      worst = std::max(worst, distance(exact[i].prompt_tokens[p], rounded[i].prompt_tokens[p]));
    }
    worst = std::max(worst, distance(exact[i].tokens[0], rounded[i].tokens[0]));
  }
  return worst;
}

// The fixtures are small models of random weights, whose logits no training has made robust.
TEST_CASE(
    "weights in int8 and int4 move the logprobs of bf16 by no more than their codes explain") {
  for (const char* name : {"llama_small", "llama3_gqa", "mistral", "qwen2", "qwen3"}) {
    const std::filesystem::path model = Fixture(std::string("checkpoints/") + name);
    const json golden = ReadJson(model / "golden.json");
    const auto exact = TeacherForced(model, golden, DType::kBF16, DType::kBF16);
    double of_int8 = 0;
    // Half a step of 1 / 127 or 1 / 8 of a group's largest element, which is some three times its
    // typical one, evenly spread: 3 / sqrt(3) times half a step of the 2-norm; as much again in
    // int8 from the inputs. In each of 4 layers' 2 blocks, and in the head.
    for (auto [format, unit] : {std::pair{"int8", 2 * 0.5 / 127}, std::pair{"int4", 0.5 / 8}}) {
      const auto coded = TeacherForced(
          model, golden, shard_loader::ParseWeightFormat(format).value(), DType::kBF16);
      const double worst = Worst(RelativeDistance, exact, coded);
      const double largest = Worst(LargestDistance, exact, coded);
      std::printf(
          "{\"bench\": \"logits\", \"model\": \"%s\", \"format\": \"%s\", \"largest\": %.4f, "
          "\"relative\": %.5f}\n",
          name, format, largest, worst);
      INFO(name << " in " << format << ": " << largest << ", " << worst);
      CHECK(worst <= (4 * 2 + 1) * std::sqrt(3.0) * unit);
      CHECK(largest > of_int8);
      of_int8 = largest;
    }
  }
}

TEST_CASE("weights in 16 bits give the bits of f32 on the same rounded weights") {
  for (const char* name : {"llama_small", "mistral", "qwen2", "qwen3", "llama_vocab509"}) {
    for (DType dtype : {DType::kBF16, DType::kF16}) {
      INFO(name << " in " << shard_loader::DTypeName(dtype));
      const std::filesystem::path stored = Fixture(std::string("checkpoints/") + name);
      const json golden = ReadJson(stored / "golden.json");
      TempDir rounded;
      const DType from = WriteRounded(stored, rounded.path(), dtype);
      const auto expected = TeacherForced(rounded.path(), golden, DType::kF32, DType::kF32);
      const auto found = TeacherForced(stored, golden, dtype, DType::kF32);
      for (size_t i = 0; i < expected.size(); ++i) CHECK(Difference(expected[i], found[i]) == "");
      const auto exact = TeacherForced(stored, golden, DType::kF32, DType::kF32);
      // What bf16 holds, f16 holds as well, but for the smallest.
      if (from != dtype && from != DType::kBF16) CHECK(Difference(exact[0], found[0]) != "");
    }
  }
}

TEST_CASE("a cache of fewer bits moves the logprobs by no more than its rounding explains") {
  for (const char* name : {"llama_small", "mistral", "qwen2", "qwen3"}) {
    const std::filesystem::path model = Fixture(std::string("checkpoints/") + name);
    const json golden = ReadJson(model / "golden.json");
    const auto exact = TeacherForced(model, golden, DType::kBF16, DType::kF32);
    // An element in int8 is off by half a step, 1 / 127 of the largest one: of the vector's norm,
    // where elements are alike, by 0.5 / 127 times the largest over the typical one, at most 3.
    for (auto [kv_dtype, unit] :
         {std::pair{KvFormat(DType::kBF16), 0x1p-9}, std::pair{KvFormat(DType::kF16), 0x1p-12},
          std::pair{KvFormat::Int8(), 3 * 0.5 / 127}}) {
      INFO(name << " with a cache in " << shard_loader::KvFormatName(kv_dtype));
      const auto rounded = TeacherForced(model, golden, DType::kBF16, kv_dtype);
      // In each of 4 layers rounded values move an attention output by at most `unit` of its norm,
      // and rounded keys move a score by at most `unit` |q||k| scale, here about 3, and so a weight
      // by twice that; the norms before each block pass relative distances on.
      const double worst = Worst(RelativeDistance, exact, rounded);
      CHECK(worst <= 4 * (1 + 2 * 3) * unit);
      CHECK(worst > 0);
    }
  }
}

}  // namespace
}  // namespace tessera::tests
