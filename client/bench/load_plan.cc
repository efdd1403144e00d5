#include "client/bench/load_plan.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tessera::client {
namespace {

// Ids below are special in many vocabularies.
constexpr uint32_t kFirstOrdinaryId = 16;
constexpr uint64_t kPrefixStream = 0x70726566;
constexpr uint64_t kRestStream = 0x72657374;

void AppendIds(uint64_t seed, uint32_t vocab_size, size_t count, std::vector<uint32_t>& ids) {
  Random random(seed);
  const uint32_t first = vocab_size > 2 * kFirstOrdinaryId ? kFirstOrdinaryId : 0;
  for (size_t i = 0; i < count; ++i) {
    ids.push_back(first + static_cast<uint32_t>(random.Below(vocab_size - first)));
  }
}

uint64_t StreamSeed(uint64_t seed, uint64_t stream, uint64_t index) {
  return Random(seed ^ stream).Bits() ^ Random(index).Bits();
}

absl::StatusOr<PlannedRequest> ParseLine(std::string_view line, size_t number) {
  const auto invalid = [number](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("trace: line ", number, ": ", why));
  };
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return invalid("is no JSON object");
  for (const char* key : {"arrival", "input", "output"}) {
    if (!object.contains(key) || !object[key].is_number()) {
      return invalid(absl::StrCat("has no number '", key, "'"));
    }
  }
  PlannedRequest request;
  request.arrival_s = object["arrival"].get<double>();
  const auto input = object["input"].get<double>();
  const auto output = object["output"].get<double>();
  if (!(request.arrival_s >= 0)) return invalid("'arrival' is before the begin");
  if (!(input >= 1) || !(output >= 1) || input > 1e9 || output > 1e9) {
    return invalid("'input' and 'output' must be at least 1 token");
  }
  request.input_tokens = static_cast<uint32_t>(input);
  request.output_tokens = static_cast<uint32_t>(output);
  return request;
}

}  // namespace

PlannedRequest RequestSource::Next() {
  PlannedRequest request;
  if (rate_ > 0) now_s_ += random_.Exponential() / rate_;
  request.arrival_s = now_s_;
  request.input_tokens = input_.Sample(random_);
  request.output_tokens = output_.Sample(random_);
  return request;
}

absl::StatusOr<std::vector<PlannedRequest>> ParseTrace(std::string_view text) {
  std::vector<PlannedRequest> requests;
  size_t number = 0;
  const std::vector<std::string> lines = absl::StrSplit(std::string(text), '\n');
  for (const std::string& line : lines) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<PlannedRequest> request = ParseLine(line, number);
    if (!request.ok()) return request.status();
    requests.push_back(*request);
  }
  if (requests.empty()) return absl::InvalidArgumentError("trace: has no request");
  std::stable_sort(requests.begin(), requests.end(),
                   [](const auto& a, const auto& b) { return a.arrival_s < b.arrival_s; });
  return requests;
}

std::vector<uint32_t> MakePrompt(const PromptOptions& options, uint64_t index, uint32_t tokens) {
  std::vector<uint32_t> ids;
  const uint64_t prefix = index % std::max(1u, options.num_prefixes);
  AppendIds(StreamSeed(options.seed, kPrefixStream, prefix), options.vocab_size,
            options.prefix_tokens, ids);
  const size_t rest = tokens > ids.size() ? tokens - ids.size() : 1;
  AppendIds(StreamSeed(options.seed, kRestStream, index), options.vocab_size, rest, ids);
  return ids;
}

}  // namespace tessera::client
