#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/json.h"
#include "client/cli/terminal.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Exit code 0 means ready, 1 any other state, 3 that no server answers.\n"
    "Examples:\n"
    "  tessera status\n"
    "  tessera status --json | jq .engine\n"
    "  tessera status --wait --timeout 60\n"
    "  tessera --target 10.0.0.7:8001 status --watch";

struct Flags {
  bool json = false;
  bool watch = false;
  bool wait = false;
  double interval_s = 1.0;
  double timeout_s = 600.0;
};

Style StyleOf(ServerState state) {
  switch (state) {
    case ServerState::kReady:
      return Style::kGreen;
    case ServerState::kFailed:
      return Style::kRed;
    default:
      return Style::kYellow;
  }
}

// The busiest and the idlest stage tell whether the pipeline is even.
void PrintStages(const GroupStatus& group, std::ostream& out) {
  std::vector<double> busy(group.pp, 0);
  std::vector<double> all(group.pp, 0);
  for (const RankStatus& rank : group.ranks) {
    if (rank.stage >= group.pp) continue;
    busy[rank.stage] += rank.busy_seconds;
    all[rank.stage] += rank.busy_seconds + rank.idle_seconds;
  }
  out << "  busy:";
  for (size_t stage = 0; stage < busy.size(); ++stage) {
    out << absl::StrFormat(" %.0f %%", all[stage] > 0 ? 100 * busy[stage] / all[stage] : 0);
  }
  out << (group.pp > 1 ? " (by stage)\n" : "\n");
}

void PrintGroup(size_t index, const GroupStatus& group, bool color, std::ostream& out) {
  out << "group " << index << ": "
      << Styled(std::string(ToString(group.state)), StyleOf(group.state), color) << ", tp "
      << group.tp << " x pp " << group.pp << ", comm " << Escaped(group.comm) << ", epoch "
      << group.epoch << ", restarts " << group.restarts << "\n";
  if (!group.last_loss.empty()) out << "  last loss: " << Escaped(group.last_loss) << "\n";
  if (!group.losses.empty() && group.losses.back().pause_seconds) {
    // Those after it came while it was made again.
    auto last = std::find_if(group.losses.rbegin(), group.losses.rend(),
                             [](const Loss& loss) { return loss.was_ready; });
    if (last == group.losses.rend()) --last;
    const Loss& loss = *last;
    out << absl::StrFormat("  it was back after %.2f s: %d requests went on, %d tokens replayed",
                           *loss.pause_seconds, loss.requests_replayed, loss.tokens_replayed);
    if (loss.requests_moved > 0) {
      out << absl::StrFormat("; %d requests moved to other groups", loss.requests_moved);
    }
    if (last != group.losses.rbegin()) {
      out << absl::StrFormat("; lost %d more times meanwhile", last - group.losses.rbegin());
    }
    out << "\n";
  }
  for (const RankStatus& rank : group.ranks) {
    out << absl::StrFormat(
        "  rank %d (stage %d, tp %d)  pid %d on %s  %s  weights %s, KV %s", rank.rank, rank.stage,
        rank.tp_index, rank.pid, Escaped(rank.host.empty() ? rank.address : rank.host),
        Escaped(rank.kernels), HumanBytes(rank.weight_bytes), HumanBytes(rank.kv_bytes));
    if (rank.load_fraction < 1.0) out << absl::StrFormat("  %.0f %%", rank.load_fraction * 100);
    out << "\n";
  }
  if (group.engine.steps_total > 0) PrintStages(group, out);
}

std::string Milliseconds(const LatencyFigures& latency) {
  return absl::StrFormat("p50 %.1f, p90 %.1f, p99 %.1f ms", latency.p50 * 1e3, latency.p90 * 1e3,
                         latency.p99 * 1e3);
}

// Where the time of steps and requests goes.
void PrintTimes(const EngineFigures& engine, std::ostream& out) {
  if (engine.steps_total == 0) return;
  const auto steps = static_cast<double>(engine.steps_total);
  const double both = engine.workers_seconds + engine.server_seconds;
  out << absl::StrFormat(
      "steps: %s; workers waited for the server %.1f %% of the time; engine thread %.0f us each\n",
      Milliseconds(engine.step_time), both > 0 ? 100 * engine.server_seconds / both : 0,
      engine.engine_cpu_seconds / steps * 1e6);
  out << "first token: " << Milliseconds(engine.time_to_first_token)
      << "; between tokens: " << Milliseconds(engine.inter_token) << "\n"
      << "whole answer: " << Milliseconds(engine.end_to_end)
      << "; in the queue: " << Milliseconds(engine.queue_time) << "\n";
}

void PrintStatus(const ServerStatus& status, const Context& context) {
  const bool color = context.use_color();
  std::ostream& out = context.io.out;
  out << Styled(std::string(ToString(status.state)), StyleOf(status.state), color) << ": "
      << Escaped(status.model) << " on " << context.target << ", version "
      << Escaped(status.version) << ", up " << HumanSeconds(status.uptime_seconds) << "\n";
  if (!status.message.empty()) out << Escaped(status.message) << "\n";
  if (!status.numerics_id.empty()) out << "numerics: " << Escaped(status.numerics_id) << "\n";
  for (size_t i = 0; i < status.groups.size(); ++i) PrintGroup(i, status.groups[i], color, out);
  const EngineFigures& engine = status.engine;
  out << "requests: " << engine.running << " running, " << engine.waiting << " waiting ("
      << engine.queued << " in the queue), " << engine.requests_total << " in all ("
      << engine.requests_failed << " failed, " << engine.requests_cancelled << " cancelled)\n"
      << "tokens: " << engine.prompt_tokens_total << " in, " << engine.completion_tokens_total
      << " out (" << absl::StrFormat("%.1f", engine.output_tokens_per_second) << "/s), "
      << engine.cached_tokens_total << " found in the prefix cache, " << engine.prefill_tokens_total
      << " computed of prompts, " << engine.steps_total << " steps\n"
      << "KV blocks: " << engine.kv_blocks_free << " of " << engine.kv_blocks_total << " free, "
      << engine.preemptions_total << " preemptions\n";
  if (engine.kv_slots_total > 0) {
    out << "KV offload: " << engine.kv_slots_used << " of " << engine.kv_slots_total
        << " slots in use, " << engine.blocks_spilled_total << " blocks spilled, "
        << engine.blocks_fetched_total << " fetched (" << engine.fetched_tokens_total
        << " tokens)\n";
  }
  PrintTimes(engine, out);
  out.flush();
}

int CodeOf(ServerState state) { return state == ServerState::kReady ? kExitOk : kExitFailed; }

int Once(const Flags& flags, const Context& context, Client& client) {
  auto status = client.GetStatus();
  if (!status.ok()) return context.Fail(status.status());
  if (flags.json) {
    context.io.out << Pretty(ToJson(*status)) << std::endl;
  } else {
    PrintStatus(*status, context);
  }
  return CodeOf(status->state);
}

int Watch(const Flags& flags, const Context& context, Client& client) {
  auto stream = client.WatchStatus(absl::Seconds(flags.interval_s));
  Interrupt interrupt([&stream] { stream->Cancel(); });
  ServerState last = ServerState::kUnspecified;
  while (true) {
    auto status = stream->Next();
    if (interrupt.happened()) return kExitInterrupted;
    if (!status.ok()) return context.Fail(status.status());
    if (!status->has_value()) return CodeOf(last);
    last = (*status)->state;
    if (flags.json) {
      context.io.out << Compact(ToJson(**status)) << std::endl;
      continue;
    }
    if (context.io.out_is_terminal) context.io.out << "\x1b[H\x1b[2J";
    PrintStatus(**status, context);
  }
}

// Returns when the server is ready, has failed, or the time is over.
int Wait(const Flags& flags, const Context& context) {
  const absl::Time deadline = absl::Now() + absl::Seconds(flags.timeout_s);
  ProgressBar bar(context.io.err, context.io.err_is_terminal, context.io.columns);
  bar.Show(0.0, absl::StrCat("waiting for ", context.target));
  ClientOptions options{.target = context.target,
                        .connect_timeout = absl::Seconds(flags.timeout_s),
                        .wait_for_server = true};
  auto client = Client::Connect(options);
  if (!client.ok()) {
    bar.Clear();
    return context.Fail(client.status());
  }
  auto stream = (*client)->WatchStatus(absl::Milliseconds(100));
  while (true) {
    auto status = stream->Next();
    if (!status.ok() || !status->has_value()) {
      bar.Clear();
      return context.Fail(status.ok() ? absl::UnavailableError("the server has gone")
                                      : status.status());
    }
    const ServerState state = (*status)->state;
    const std::string what =
        (*status)->message.empty() ? std::string(ToString(state)) : (*status)->message;
    if (state == ServerState::kReady || state == ServerState::kFailed) {
      bar.Clear();
      if (flags.json) {
        context.io.out << Pretty(ToJson(**status)) << std::endl;
      } else {
        PrintStatus(**status, context);
      }
      return CodeOf(state);
    }
    if (absl::Now() > deadline) {
      bar.Clear();
      return context.Fail(absl::DeadlineExceededError(
          absl::StrCat("not ready after ", flags.timeout_s, " s: ", what)));
    }
    bar.Show(LoadFraction(**status), what);
  }
}

int Run(const Flags& flags, const Context& context) {
  if (flags.wait) return Wait(flags, context);
  auto client = context.Connect();
  if (!client.ok()) return context.Fail(client.status());
  return flags.watch ? Watch(flags, context, **client) : Once(flags, context, **client);
}

}  // namespace

void AddStatus(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("status", "Show what a server does");
  command->footer(kExamples);
  command->add_flag("--json", flags->json, "Print JSON (with --watch: one object per line)");
  CLI::Option* watch = command->add_flag("--watch", flags->watch, "Show it again and again");
  command->add_option("--interval", flags->interval_s, "Seconds between two looks of --watch")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("--wait", flags->wait, "Wait until the server is ready")->excludes(watch);
  command->add_option("--timeout", flags->timeout_s, "Seconds that --wait waits at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
