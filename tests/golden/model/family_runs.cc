#include "tests/golden/model/family_runs.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/rank_plan.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using worker::SequenceStart;

// Whether the model can be cut so; tests/unit/shard_loader_plan shows what refuses it.
bool Fits(const std::string& name, Degrees degrees) {
  const auto checkpoint = shard_loader::Checkpoint::Open(Fixture(name)).value();
  return shard_loader::MakeRankPlans(checkpoint->spec(), {degrees.tp, degrees.pp}).ok();
}

// Those of `parent` with golden answers; `parent` is a folder of the fixtures, or a whole path.
void AddFolders(const std::string& parent, std::vector<std::string>* names) {
  const auto old = static_cast<std::ptrdiff_t>(names->size());
  for (const auto& entry : std::filesystem::directory_iterator(Fixture(parent))) {
    if (!std::filesystem::exists(entry.path() / "golden.json")) continue;
    names->push_back(parent + "/" + entry.path().filename().string());
  }
  std::sort(names->begin() + old, names->end());
}

}  // namespace

std::vector<std::string> FamilyCheckpoints() {
  std::vector<std::string> names;
  AddFolders("checkpoints", &names);
  AddFolders("families", &names);
  if (const char* more = std::getenv("TESSERA_MORE_CHECKPOINTS")) AddFolders(more, &names);
  return names;
}

std::vector<std::string> FormatCheckpoints() {
  std::vector<std::string> names;
  AddFolders("formats", &names);
  return names;
}

std::vector<Answer> RunFamily(const std::string& name, const GroupOptions& options) {
  const std::filesystem::path folder = Fixture(name);
  std::vector<SequenceStart> starts;
  const json golden = ReadJson(folder / "golden.json");
  for (const json& prompt : golden["prompts"]) {
    starts.push_back(GreedyStart(prompt["input_ids"], 4));
    starts.back().logprobs = 20;
    starts.back().prompt_logprobs = 2;
  }
  Group group(folder, options);
  return group.Generate(starts, 50);
}

void CheckSame(const std::vector<Answer>& expected, const std::vector<Answer>& found) {
  REQUIRE(expected.size() == found.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO("sequence " << i);
    CHECK(Difference(expected[i], found[i]) == "");
    CHECK_FALSE(found[i].tokens.empty());
  }
}

int CheckDegrees(const std::string& name, const std::vector<Degrees>& layouts) {
  const std::vector<Answer> expected = RunFamily(name, {});
  int checked = 0;
  for (const Degrees& degrees : layouts) {
    if (!Fits(name, degrees)) continue;
    INFO(name << " with tp " << degrees.tp << ", pp " << degrees.pp);
    GroupOptions options;
    options.tp = degrees.tp;
    options.pp = degrees.pp;
    CheckSame(expected, RunFamily(name, options));
    ++checked;
  }
  return checked;
}

}  // namespace tessera::tests
