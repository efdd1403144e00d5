#include "client/cli/verify_layouts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tessera::client {
namespace {

constexpr uint64_t kBlockTokens = 16;

VerifyLayout Parallel(int tp, int pp) {
  VerifyLayout layout;
  if (tp > 1) layout.name = absl::StrCat("tp=", tp);
  if (pp > 1) absl::StrAppend(&layout.name, layout.name.empty() ? "" : " ", "pp=", pp);
  layout.flags = {"--tp", absl::StrCat(tp), "--pp", absl::StrCat(pp)};
  return layout;
}

// Two a time: a request that was lost a third time without a token between would count as what
// kills its group.
VerifyLayout Kills(const std::string& name, const std::vector<std::string>& flags) {
  return {.name = name, .flags = flags, .at_once = true, .times = 3, .kills = 2};
}

// Of "--name" and "--name=value".
std::string NameOf(const std::string& argument) { return argument.substr(0, argument.find('=')); }

// Room for the longest question and a half: all together they must push each other out.
std::string FewBlocks(const VerifyPlan& plan) {
  const uint64_t one = (plan.longest + kBlockTokens - 1) / kBlockTokens + 1;
  return absl::StrCat(one + one / 2 + 1);
}

}  // namespace

VerifyLayout ReferenceLayout() {
  VerifyLayout layout;
  layout.name = "tp=1 pp=1, one thread, one at a time";
  layout.flags = {"--tp", "1", "--pp", "1", "--dp", "1", "--threads", "1"};
  return layout;
}

std::vector<VerifyLayout> Layouts(const VerifyPlan& plan) {
  std::vector<VerifyLayout> layouts;
  for (int tp : {2, 3, 4, 8}) {
    if (tp <= plan.max_tp) layouts.push_back(Parallel(tp, 1));
  }
  for (int pp : {2, 4}) {
    if (pp <= plan.max_pp) layouts.push_back(Parallel(1, pp));
  }
  if (plan.max_tp >= 2 && plan.max_pp >= 2) layouts.push_back(Parallel(2, 2));
  layouts.push_back({.name = "dp=2", .flags = {"--dp", "2"}, .at_once = true});
  layouts.push_back({.name = "all threads", .flags = {"--threads", "0"}});
  layouts.push_back({.name = "three threads", .flags = {"--threads", "3"}});
  layouts.push_back({.name = "all at once", .at_once = true});
  layouts.push_back({.name = "chunks of 7 tokens",
                     .flags = {"--max-num-batched-tokens", "7", "--max-num-seqs", "4"},
                     .at_once = true});
  layouts.push_back({.name = "asked twice", .times = 2});
  if (plan.prefix_cache) {
    layouts.push_back({.name = "no prefix cache", .flags = {"--no-prefix-cache"}, .times = 2});
  }
  layouts.push_back(
      {.name = "preemptions", .flags = {"--num-kv-blocks", FewBlocks(plan)}, .at_once = true});
  layouts.push_back(Kills("kills", {"--tp", "2"}));
  layouts.push_back(Kills("kills dp=2", {"--dp", "2"}));
  if (plan.keeps_evicted) {
    std::vector<std::string> flags = {"--num-kv-blocks", FewBlocks(plan), "--kv-offload", "256MiB"};
    layouts.push_back({.name = "evicted blocks kept", .flags = flags, .at_once = true, .times = 2});
    flags.insert(flags.end(), {"--tp", "2"});
    layouts.push_back(Kills("kills with evicted blocks kept", flags));
  }
  for (const std::string& kernels : plan.kernels) {
    layouts.push_back({.name = absl::StrCat("kernels ", kernels),
                       .flags = {"--kernels", kernels},
                       .slow = kernels == "generic"});
  }
  if (plan.guesses) {
    layouts.push_back(
        {.name = "speculation from the text", .flags = {"--speculate", "ngram"}, .at_once = true});
  }
  if (!plan.draft.empty()) {
    layouts.push_back({.name = "speculation", .flags = {"--draft", plan.draft}, .at_once = true});
  }
  return layouts;
}

std::vector<std::string> ServerFlags(const std::vector<std::string>& common,
                                     const VerifyLayout& layout) {
  std::vector<std::string> flags;
  for (size_t i = 0; i < common.size(); ++i) {
    const bool replaced =
        std::any_of(layout.flags.begin(), layout.flags.end(), [&](const std::string& flag) {
          return flag.starts_with("--") && flag == NameOf(common[i]);
        });
    if (!replaced) {
      flags.push_back(common[i]);
    } else if (NameOf(common[i]) == common[i] && i + 1 < common.size() &&
               !common[i + 1].starts_with("--")) {
      ++i;  // its value
    }
  }
  flags.insert(flags.end(), layout.flags.begin(), layout.flags.end());
  return flags;
}

}  // namespace tessera::client
