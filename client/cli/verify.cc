// `tessera verify`: one model under many layouts on this machine, compared bit by bit.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <memory>
#include <ostream>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/child.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/json.h"
#include "client/cli/serve.h"
#include "client/cli/server_child.h"
#include "client/cli/terminal.h"
#include "client/cli/verify_answers.h"
#include "client/cli/verify_layouts.h"
#include "client/cli/verify_trace.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Starts servers of its own, one after the other, and compares every token and the bits of\n"
    "every logprob with those of one rank and one thread. Flags that it does not know go to every\n"
    "server. Exit code 1: a layout answers otherwise; the first difference is named.\n"
    "Examples:\n"
    "  tessera verify\n"
    "  tessera verify --model ./Llama-3.2-1B-Instruct --max-tp 4 --dtype bf16\n"
    "  tessera verify --only tp=2,preemptions --prompts prompts.txt --json";

constexpr absl::Duration kToolTimeout = absl::Seconds(60);

struct Flags {
  std::string model;
  std::string prompts;
  std::string draft;
  std::vector<std::string> only;
  uint32_t max_tokens = 24;
  int max_tp = 8;
  int max_pp = 4;
  bool all = false;
  bool json = false;
  std::optional<uint32_t> test_reorder_from;
  std::vector<std::string> server_flags;
};

struct Outcome {
  enum class Kind { kEqual, kDifferent, kLeftOut, kFailed };
  Kind kind = Kind::kEqual;
  std::string detail;
  size_t answers = 0;
  double seconds = 0;
};

std::string_view ToString(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::kEqual:
      return "equal";
    case Outcome::Kind::kDifferent:
      return "DIFFERENT";
    case Outcome::Kind::kLeftOut:
      return "left out";
    case Outcome::Kind::kFailed:
      return "FAILED";
  }
  return "";
}

// A folder for traces, gone with its content.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-verify-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TempFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Kills workers of a server while it answers.
class Killer {
 public:
  Killer(Client& client, int kills)
      : done_(std::async(std::launch::async, [this, &client, kills] { Run(client, kills); })) {}
  ~Killer() {
    over_ = true;
    done_.wait();
  }

 private:
  void Run(Client& client, int kills) {
    auto stream = client.WatchStatus(absl::Milliseconds(100));
    uint64_t tokens = 0;
    for (int kill_number = 0; kill_number < kills && !over_;) {
      auto status = stream->Next();
      if (!status.ok() || !status->has_value()) return;
      // After every loss something must have been gained, or it counts as the requests' own fault.
      if ((*status)->engine.completion_tokens_total <= tokens) continue;
      if (!KillOne((*status)->groups, kill_number)) continue;
      tokens = (*status)->engine.completion_tokens_total;
      ++kill_number;
    }
  }

  // A worker of one group after the other; false where that group has none now.
  static bool KillOne(const std::vector<GroupStatus>& groups, int number) {
    if (groups.empty()) return false;
    const GroupStatus& group = groups[static_cast<size_t>(number) % groups.size()];
    if (group.state != ServerState::kReady || group.ranks.empty()) return false;
    const auto pid = static_cast<pid_t>(
        group.ranks[static_cast<size_t>(number) / groups.size() % group.ranks.size()].pid);
    return pid > 0 && kill(pid, SIGKILL) == 0;
  }

  std::atomic<bool> over_ = false;
  std::future<void> done_;
};

class Verifier {
 public:
  Verifier(const Flags& flags, const Context& context) : flags_(flags), context_(context) {}

  // The exit code.
  absl::StatusOr<int> Run();

 private:
  absl::StatusOr<std::unique_ptr<ServerChild>> Start(const VerifyLayout& layout) const;
  absl::Status ChooseCommonFlags(bool has_texts);
  absl::Status AskReference(const std::vector<std::string>& texts);
  absl::StatusOr<VerifyPlan> MakePlan() const;
  // FAILED_PRECONDITION where the model cannot be cut so.
  absl::Status Possible(const VerifyLayout& layout) const;
  Outcome Try(const VerifyLayout& layout);
  absl::StatusOr<Outcome> AskAndCompare(const VerifyLayout& layout, ServerChild& server);
  // Where in the model the difference arises; empty where it cannot be told.
  std::string Locate(const VerifyLayout& layout, const Question& question) const;
  absl::StatusOr<ResidualTrace> Trace(const VerifyLayout& layout, const Question& question) const;
  void Report(const VerifyLayout& layout, const Outcome& outcome);

  const Flags& flags_;
  const Context& context_;
  shard_loader::DecoderSpec spec_;
  ModelInfo model_;
  std::vector<std::string> common_flags_;  // of every server
  std::vector<Question> questions_;
  std::vector<Completion> expected_;
  Json report_ = Json::array();
};

absl::StatusOr<std::unique_ptr<ServerChild>> Verifier::Start(const VerifyLayout& layout) const {
  ServerChild::Options options{.program = (context_.bin_dir / "tessera-server").string(),
                               .arguments = {"--model", flags_.model, "--log-level", "error"},
                               .environment = layout.environment};
  const std::vector<std::string> flags = ServerFlags(common_flags_, layout);
  options.arguments.insert(options.arguments.end(), flags.begin(), flags.end());
  return ServerChild::Start(options);
}

absl::Status Verifier::ChooseCommonFlags(bool has_texts) {
  common_flags_ = flags_.server_flags;
  ASSIGN_OR_RETURN(auto checkpoint, shard_loader::Checkpoint::Open(flags_.model));
  spec_ = checkpoint->spec();
  if (has_texts || FlagValue(common_flags_, "--max-model-len")) return absl::OkStatus();
  // No longer than the questions: a cache that holds one sequence is then small enough to be
  // fought for.
  const int64_t length =
      std::min<int64_t>(spec_.context_length, int64_t{kLongestPrompt} + flags_.max_tokens);
  common_flags_.insert(common_flags_.end(), {"--max-model-len", absl::StrCat(length)});
  return absl::OkStatus();
}

absl::Status Verifier::AskReference(const std::vector<std::string>& texts) {
  ASSIGN_OR_RETURN(auto server, Start(ReferenceLayout()));
  ASSIGN_OR_RETURN(auto client, Client::Connect({.target = server->target()}));
  ASSIGN_OR_RETURN(std::vector<ModelInfo> models, client->ListModels());
  if (models.empty()) return absl::InternalError("the server lists no model");
  model_ = models[0];
  questions_ = MakeQuestions(model_, texts, flags_.max_tokens);
  if (questions_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("the model's context of ", model_.max_model_len,
                                                   " tokens holds no prompt; lower --max-tokens"));
  }
  ASSIGN_OR_RETURN(expected_, AskAll(*client, questions_, /*at_once=*/false));
  return absl::OkStatus();
}

absl::StatusOr<VerifyPlan> Verifier::MakePlan() const {
  VerifyPlan plan{.max_tp = flags_.max_tp,
                  .max_pp = flags_.max_pp,
                  .questions = questions_.size(),
                  .draft = flags_.draft};
  for (const Completion& answer : expected_) {
    plan.longest = std::max<uint64_t>(plan.longest,
                                      answer.accepted.prompt_token_ids.size() + flags_.max_tokens);
  }
  ASSIGN_OR_RETURN(
      ChildResult help,
      RunChild({(context_.bin_dir / "tessera-server").string(), "--help"}, kToolTimeout));
  plan.prefix_cache = help.out.find("--no-prefix-cache") != std::string::npos;
  plan.keeps_evicted = help.out.find("--kv-offload") != std::string::npos;
  plan.guesses = help.out.find("--speculate") != std::string::npos;
  ASSIGN_OR_RETURN(
      ChildResult check,
      RunChild({(context_.bin_dir / "tessera-worker").string(), "--self-check"}, kToolTimeout));
  const Json report = Json::parse(check.out, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) return plan;
  std::string numerics;
  for (const Json& set : report.value("kernels", Json::array())) {
    const std::string name = set.value("name", "");
    // The best one is what all other layouts run; the numerics of another are its own.
    if (numerics.empty())
      numerics = set.value("numerics", "");
    else if (set.value("numerics", "") == numerics)
      plan.kernels.push_back(name);
  }
  return plan;
}

void TellLosses(const ServerStatus& status, Outcome& outcome) {
  double longest = 0;
  uint32_t restarts = 0;
  for (const GroupStatus& group : status.groups) {
    restarts += group.restarts;
    for (const Loss& loss : group.losses) {
      longest = std::max(longest, loss.pause_seconds.value_or(0));
    }
  }
  if (restarts == 0) {
    outcome.kind = Outcome::Kind::kLeftOut;
    outcome.detail = "the answers were over before a worker could be killed; raise --max-tokens";
    return;
  }
  outcome.detail = absl::StrFormat("%d restarts, the longest pause %.2f s", restarts, longest);
}

absl::StatusOr<Outcome> Verifier::AskAndCompare(const VerifyLayout& layout, ServerChild& server) {
  ASSIGN_OR_RETURN(auto client, Client::Connect({.target = server.target()}));
  Outcome outcome;
  for (int time = 0; time < layout.times; ++time) {
    std::optional<Killer> killer;
    if (layout.kills > 0) killer.emplace(*client, layout.kills);
    ASSIGN_OR_RETURN(std::vector<Completion> found, AskAll(*client, questions_, layout.at_once));
    for (size_t i = 0; i < found.size(); ++i) {
      ++outcome.answers;
      if (found[i].accepted.numerics_id != expected_[i].accepted.numerics_id) {
        outcome.kind = Outcome::Kind::kFailed;
        outcome.detail = absl::StrCat("another numerics id: ", found[i].accepted.numerics_id,
                                      " where ", expected_[i].accepted.numerics_id, " was due");
        return outcome;
      }
      auto difference = FirstDifference(expected_[i], found[i]);
      if (!difference) continue;
      outcome.kind = Outcome::Kind::kDifferent;
      outcome.detail = absl::StrCat(questions_[i].name, ": position ", difference->position, ": ",
                                    difference->what, Locate(layout, questions_[i]));
      return outcome;
    }
  }
  ASSIGN_OR_RETURN(ServerStatus status, client->GetStatus());
  if (layout.kills > 0) {
    TellLosses(status, outcome);
  } else if (status.engine.preemptions_total > 0) {
    outcome.detail = absl::StrCat(status.engine.preemptions_total, " preemptions");
  }
  return outcome;
}

absl::Status Verifier::Possible(const VerifyLayout& layout) const {
  shard_loader::Layout degrees;
  for (auto [flags, name, degree] : {std::tuple(&layout.flags, "--tp", &degrees.tp),
                                     std::tuple(&layout.flags, "--pp", &degrees.pp),
                                     std::tuple(&common_flags_, "--lanes", &degrees.lanes)}) {
    const auto value = FlagValue(*flags, name);
    if (value && !absl::SimpleAtoi(*value, degree)) return absl::OkStatus();  // the server says it
  }
  return shard_loader::MakeRankPlans(spec_, degrees).status();
}

Outcome Verifier::Try(const VerifyLayout& layout) {
  const absl::Time begin = absl::Now();
  Outcome outcome;
  // What the model cannot be cut into is left out; what a server makes of the rest counts.
  if (const absl::Status possible = Possible(layout); !possible.ok()) {
    outcome.kind = Outcome::Kind::kLeftOut;
    outcome.detail = std::string(possible.message());
    return outcome;
  }
  auto server = Start(layout);
  if (!server.ok()) {
    outcome.kind = Outcome::Kind::kFailed;
    outcome.detail = std::string(server.status().message());
    return outcome;
  }
  auto compared = AskAndCompare(layout, **server);
  if (compared.ok()) {
    outcome = *std::move(compared);
  } else {
    outcome.kind = Outcome::Kind::kFailed;
    outcome.detail = std::string(compared.status().message());
  }
  outcome.seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  return outcome;
}

absl::StatusOr<ResidualTrace> Verifier::Trace(const VerifyLayout& layout,
                                              const Question& question) const {
  TempFolder folder;
  VerifyLayout traced = layout;
  traced.environment.push_back(absl::StrCat("TESSERA_TRACE_DIR=", folder.path()));
  {
    ASSIGN_OR_RETURN(auto server, Start(traced));
    ASSIGN_OR_RETURN(auto client, Client::Connect({.target = server->target()}));
    RETURN_IF_ERROR(AskAll(*client, {question}, /*at_once=*/false).status());
  }
  return ReadTrace(folder.path());
}

std::string Verifier::Locate(const VerifyLayout& layout, const Question& question) const {
  auto expected = Trace(ReferenceLayout(), question);
  auto found = Trace(layout, question);
  if (!expected.ok() || !found.ok()) return "";
  auto difference = FirstDifference(*expected, *found);
  if (!difference) {
    return "; the residual streams are equal when it is asked alone: what differs is behind the "
           "layers, or needs other requests beside it";
  }
  const std::string where =
      difference->layer < 0 ? "the embedding" : absl::StrCat("layer ", difference->layer);
  return absl::StrCat("; it arises in ", where, " on rank ", difference->rank, ", at position ",
                      difference->position);
}

void Verifier::Report(const VerifyLayout& layout, const Outcome& outcome) {
  if (flags_.json) {
    report_.push_back({{"layout", layout.name},
                       {"flags", layout.flags},
                       {"outcome", std::string(ToString(outcome.kind))},
                       {"detail", outcome.detail},
                       {"answers", outcome.answers},
                       {"seconds", outcome.seconds}});
    return;
  }
  const bool good =
      outcome.kind == Outcome::Kind::kEqual || outcome.kind == Outcome::Kind::kLeftOut;
  context_.io.out << absl::StrFormat("%-24s ", layout.name)
                  << Styled(std::string(ToString(outcome.kind)), good ? Style::kGreen : Style::kRed,
                            context_.use_color());
  if (outcome.seconds > 0) context_.io.out << absl::StrFormat("  %.1f s", outcome.seconds);
  if (!outcome.detail.empty()) context_.io.out << "  " << Escaped(outcome.detail);
  context_.io.out << std::endl;
}

absl::StatusOr<int> Verifier::Run() {
  std::vector<std::string> texts;
  if (!flags_.prompts.empty()) {
    std::ifstream file(flags_.prompts);
    for (std::string line; std::getline(file, line);) {
      if (!line.empty()) texts.push_back(line);
    }
  }
  RETURN_IF_ERROR(ChooseCommonFlags(!texts.empty()));
  RETURN_IF_ERROR(AskReference(texts));
  ASSIGN_OR_RETURN(VerifyPlan plan, MakePlan());
  if (!flags_.json) {
    context_.io.out << Escaped(model_.name) << ": " << questions_.size() << " questions, numerics "
                    << Escaped(expected_[0].accepted.numerics_id) << std::endl;
  }
  std::vector<VerifyLayout> layouts = Layouts(plan);
  if (flags_.test_reorder_from) {
    layouts = {ReferenceLayout()};
    layouts[0].name = "a changed order";
    layouts[0].environment = {
        absl::StrCat("TESSERA_TEST_REORDER_FROM=", *flags_.test_reorder_from)};
  }
  std::set<std::string> only(flags_.only.begin(), flags_.only.end());
  size_t compared = 0;
  size_t bad = 0;
  for (const VerifyLayout& layout : layouts) {
    const bool named = only.erase(layout.name) > 0;
    if (!named && (!flags_.only.empty() || (layout.slow && !flags_.all))) continue;
    const Outcome outcome = Try(layout);
    Report(layout, outcome);
    compared += outcome.kind != Outcome::Kind::kLeftOut;
    bad += outcome.kind == Outcome::Kind::kDifferent || outcome.kind == Outcome::Kind::kFailed;
  }
  if (!only.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--only: there is no layout ", absl::StrJoin(only, ", "), " here"));
  }
  if (flags_.json) {
    context_.io.out << Pretty({{"model", model_.name},
                               {"numerics_id", expected_[0].accepted.numerics_id},
                               {"weights_version", expected_[0].accepted.weights_version},
                               {"questions", questions_.size()},
                               {"equal", bad == 0},
                               {"layouts", report_}})
                    << std::endl;
  } else if (bad == 0) {
    context_.io.out << compared << " layouts, all equal" << std::endl;
  } else {
    context_.io.out << bad << " of " << compared << " layouts differ or failed" << std::endl;
  }
  return bad == 0 ? kExitOk : kExitFailed;
}

int Run(Flags& flags, const Context& context) {
  if (flags.model.empty()) {
    auto bundled = FindBundledModel(context.bin_dir);
    if (!bundled.ok()) return context.Fail(bundled.status(), "name a model with --model DIR");
    flags.model = bundled->string();
  }
  absl::StatusOr<int> code = Verifier(flags, context).Run();
  return code.ok() ? *code : context.Fail(code.status(), "");
}

}  // namespace

void AddVerify(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command =
      app.add_subcommand("verify", "Prove that every layout gives the same answers here");
  command->footer(kExamples);
  command->add_option("--model", flags->model, "Folder of a checkpoint; default: the bundled one");
  command->add_option("--prompts", flags->prompts, "Ask these too: a file with a prompt per line")
      ->check(CLI::ExistingFile);
  command->add_option("--draft", flags->draft, "Also with speculation by this model");
  command->add_option("--only", flags->only, "Only these layouts, by the names in the report")
      ->delimiter(',');
  command->add_flag("--all", flags->all, "Also what takes very long: the portable kernel set");
  command->add_option("--max-tokens", flags->max_tokens, "Of every answer")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--max-tp", flags->max_tp, "The most tensor-parallel ranks")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--max-pp", flags->max_pp, "The most stages")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->add_option("--test-reorder-from", flags->test_reorder_from)->group("");
  command->allow_extras();
  command->callback([flags, command, &context] {
    flags->server_flags = command->remaining();
    context.action = [flags, &context] { return Run(*flags, context); };
  });
}

}  // namespace tessera::client
