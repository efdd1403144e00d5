#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/lengths.h"
#include "client/bench/load_plan.h"
#include "client/bench/load_run.h"
#include "client/bench/rate_search.h"
#include "client/bench/report.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/interrupt.h"
#include "client/cli/json.h"
#include "client/cli/terminal.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Prompts are made-up token ids, answers go to their full length. In an open loop (--rate,\n"
    "--trace) requests come whether or not the server keeps up, and their latency counts from\n"
    "when they were due; in a closed one (--clients) each client waits for its answer.\n"
    "Exit code 1 where a request failed, or a sweep found no rate that meets its target.\n"
    "Examples:\n"
    "  tessera bench --clients 16 --requests 200\n"
    "  tessera bench --rate 20 --duration 30 --input lognormal:200:0.8 --output exponential:100\n"
    "  tessera bench --clients 8 --requests 50 --shared-prefix 1000 --input 1016 --json\n"
    "  tessera bench --trace day.jsonl      # lines {\"arrival\": 0.25, \"input\": 90, \"output\": "
    "40}\n"
    "  tessera bench --sweep --rate 2 --ttft-p99-ms 500 --svg sweep.svg";

struct Flags {
  int clients = 0;
  double rate = 0;
  std::string trace;
  uint64_t requests = 0;
  double duration_s = 0;
  std::string input = "128";
  std::string output = "64";
  uint32_t shared_prefix = 0;
  uint32_t prefixes = 1;
  uint64_t seed = 1;
  double temperature = 1;
  int connections = 4;
  double grace_s = 60;
  bool sweep = false;
  double ttft_p99_ms = 0;
  double inter_token_p99_ms = 0;
  int tries = 12;
  std::string svg;
  bool json = false;
};

// What Run needs of the flags and the server. The streams are the last to be made and the first to
// go.
struct Bench {
  const Flags& flags;
  const Context& context;
  LoadOptions load;
  std::optional<LengthDistribution> input;
  std::optional<LengthDistribution> output;
  std::vector<PlannedRequest> trace;
  std::atomic<bool> stop = false;
  std::unique_ptr<Client> client;
  std::unique_ptr<ManyStreams> streams;
};

absl::StatusOr<std::string> ReadTrace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat("--trace ", path, " cannot be read"));
  return text.str();
}

absl::Status CheckFlags(const Flags& flags) {
  const int modes = (flags.clients > 0) + (flags.rate > 0) + !flags.trace.empty();
  if (modes != 1) {
    return absl::InvalidArgumentError(
        "give one of --clients N, --rate R and --trace FILE: what sends the requests");
  }
  if (flags.sweep && flags.rate <= 0) {
    return absl::InvalidArgumentError("--sweep begins with --rate R");
  }
  if (flags.sweep && flags.ttft_p99_ms <= 0 && flags.inter_token_p99_ms <= 0) {
    return absl::InvalidArgumentError(
        "--sweep needs --ttft-p99-ms or --inter-token-p99-ms, the target");
  }
  if (!flags.svg.empty() && !flags.sweep) {
    return absl::InvalidArgumentError("--svg draws a --sweep");
  }
  return absl::OkStatus();
}

absl::Status Prepare(Bench& bench) {
  const Flags& flags = bench.flags;
  RETURN_IF_ERROR(CheckFlags(flags));
  ASSIGN_OR_RETURN(bench.input, LengthDistribution::Parse(flags.input));
  ASSIGN_OR_RETURN(bench.output, LengthDistribution::Parse(flags.output));
  if (!flags.trace.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadTrace(flags.trace));
    ASSIGN_OR_RETURN(bench.trace, ParseTrace(text));
  }
  ASSIGN_OR_RETURN(bench.client, bench.context.Connect());
  ASSIGN_OR_RETURN(const std::vector<ModelInfo> models, bench.client->ListModels());
  if (models.empty()) return absl::UnavailableError("the server serves no model");
  ASSIGN_OR_RETURN(bench.streams,
                   ManyStreams::Connect({.target = bench.context.target}, flags.connections));
  LoadOptions& load = bench.load;
  load.clients = flags.clients;
  load.max_requests = flags.requests;
  load.duration_s = flags.duration_s;
  load.grace_s = flags.grace_s;
  load.max_model_len = static_cast<uint32_t>(models[0].max_model_len);
  load.prompts = {.vocab_size = static_cast<uint32_t>(models[0].vocab_size),
                  .prefix_tokens = flags.shared_prefix,
                  .num_prefixes = flags.prefixes,
                  .seed = flags.seed};
  // Without any limit a run ends after a while.
  const bool endless = flags.requests == 0 && flags.duration_s == 0 && flags.trace.empty();
  if (endless || (flags.sweep && flags.duration_s == 0)) load.duration_s = 10;
  load.request.sampling.temperature = static_cast<float>(flags.temperature);
  load.request.stop.ignore_eos = true;
  load.request.output.token_ids = true;
  return absl::OkStatus();
}

double Fraction(const LoadOptions& load, size_t trace, const LoadProgress& progress) {
  double fraction = 0;
  const auto sent = static_cast<double>(progress.sent);
  if (load.max_requests > 0) fraction = sent / static_cast<double>(load.max_requests);
  if (trace > 0) fraction = std::max(fraction, sent / static_cast<double>(trace));
  if (load.duration_s > 0) fraction = std::max(fraction, progress.seconds / load.duration_s);
  return std::min(1.0, fraction);
}

LoadResult RunOnce(Bench& bench, double rate, const std::string& name) {
  const Io& io = bench.context.io;
  ProgressBar bar(io.err, io.err_is_terminal, io.columns);
  RequestSource source(*bench.input, *bench.output, rate, bench.flags.seed);
  size_t next_of_trace = 0;
  auto next = [&]() -> std::optional<PlannedRequest> {
    if (bench.trace.empty()) return source.Next();
    if (next_of_trace == bench.trace.size()) return std::nullopt;
    return bench.trace[next_of_trace++];
  };
  LoadProgress last;
  auto show = [&](const LoadProgress& now) {
    const double seconds = now.seconds - last.seconds;
    const double rate_now =
        seconds > 0 ? static_cast<double>(now.tokens - last.tokens) / seconds : 0;
    last = now;
    bar.Show(Fraction(bench.load, bench.trace.size(), now),
             absl::StrFormat("%s%d running, %d ended, %d failed, %.0f tokens/s", name,
                             now.sent - now.ended, now.ended, now.failed, rate_now));
  };
  return RunLoad(*bench.streams, bench.load, next, bench.stop, show);
}

// The server's own figures before and after, for what lies between them.
absl::StatusOr<Json> ServerJson(Bench& bench) {
  ASSIGN_OR_RETURN(const ServerStatus status, bench.client->GetStatus());
  return ToJson(status);
}

int Single(Bench& bench) {
  absl::StatusOr<Json> before = ServerJson(bench);
  if (!before.ok()) return bench.context.Fail(before.status());
  const LoadResult result = RunOnce(bench, bench.flags.rate, "");
  absl::StatusOr<Json> after = ServerJson(bench);
  if (!after.ok()) return bench.context.Fail(after.status());
  if (bench.flags.json) {
    Json out = ToJson(result);
    out["server"] = {{"before", *std::move(before)}, {"after", *std::move(after)}};
    bench.context.io.out << Pretty(out) << std::endl;
  } else {
    bench.context.io.out << ToText(result) << std::flush;
  }
  if (bench.stop) return kExitInterrupted;
  return result.failed() == 0 && result.succeeded > 0 ? kExitOk : kExitFailed;
}

void PrintPoint(const SweepPoint& point, const Context& context) {
  const LoadResult& result = point.result;
  context.io.out << absl::StrFormat(
                        "%10.2f requests/s  first token p99 %8.1f ms  between tokens p99 %7.1f ms "
                        " %d failed  ",
                        point.rate, result.ttft.p99 * 1e3, result.inter_token.p99 * 1e3,
                        result.failed())
                 << Styled(point.met ? "met" : "missed", point.met ? Style::kGreen : Style::kRed,
                           context.use_color())
                 << std::endl;
}

int Sweep(Bench& bench) {
  const Flags& flags = bench.flags;
  const LatencyTarget target{.ttft_s = flags.ttft_p99_ms / 1e3,
                             .inter_token_s = flags.inter_token_p99_ms / 1e3};
  RateSearch search(flags.rate, 0.1, flags.tries);
  std::vector<SweepPoint> points;
  while (std::optional<double> rate = search.Next()) {
    SweepPoint point{.rate = *rate, .met = false, .result = {}};
    point.result = RunOnce(bench, *rate, absl::StrFormat("%.2f/s: ", *rate));
    if (bench.stop) return kExitInterrupted;
    point.met = Meets(target, point.result);
    search.Tell(point.met);
    if (!flags.json) PrintPoint(point, bench.context);
    points.push_back(std::move(point));
  }
  if (!flags.svg.empty()) {
    std::ofstream file(flags.svg, std::ios::trunc);
    file << ToSvg(ToPlot(points, target));
    if (!file.flush()) {
      return bench.context.Fail(
          absl::PermissionDeniedError(absl::StrCat("--svg ", flags.svg, " cannot be written")));
    }
  }
  if (flags.json) {
    Json tries = Json::array();
    for (const SweepPoint& point : points) tries.push_back(ToJson(point));
    bench.context.io.out << Pretty({{"best_rate", search.best()}, {"tries", std::move(tries)}})
                         << std::endl;
  } else {
    bench.context.io.out << absl::StrFormat("highest rate that meets the target: %.2f requests/s\n",
                                            search.best())
                         << std::flush;
  }
  return search.best() > 0 ? kExitOk : kExitFailed;
}

int Run(const Flags& flags, const Context& context) {
  Bench bench{.flags = flags, .context = context};
  if (absl::Status status = Prepare(bench); !status.ok()) return context.Fail(status);
  Interrupt interrupt([&bench] { bench.stop = true; });
  return flags.sweep ? Sweep(bench) : Single(bench);
}

void AddLoadFlags(CLI::App& command, Flags& flags) {
  command
      .add_option("--clients", flags.clients, "Closed loop: so many, each one request at a time")
      ->check(CLI::Range(1, 1 << 20));
  command.add_option("--rate", flags.rate, "Open loop: requests per second, Poisson distributed")
      ->check(CLI::PositiveNumber);
  command.add_option(
      "--trace", flags.trace,
      "Open loop from a file: a JSON object a line with arrival (seconds), input and "
      "output (tokens)");
  command.add_option("--requests", flags.requests, "How many are sent (default: see --duration)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--duration", flags.duration_s,
                  "Seconds for which requests are sent (default: 10 without --requests)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--input", flags.input,
                  "Tokens of a prompt: N, uniform:LEAST:MOST, normal:MEAN:DEVIATION, "
                  "lognormal:MEDIAN:SIGMA, exponential:MEAN")
      ->capture_default_str();
  command.add_option("--output", flags.output, "Tokens of an answer, likewise")
      ->capture_default_str();
  command.add_option("--shared-prefix", flags.shared_prefix,
                     "Tokens at the begin of each prompt that others have too");
  command.add_option("--prefixes", flags.prefixes, "Different shared prefixes, used in turn")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--seed", flags.seed, "Of arrivals, lengths, prompts and answers")
      ->capture_default_str();
  command.add_option("--temperature", flags.temperature, "Of the answers")->capture_default_str();
  command.add_option("--connections", flags.connections, "Over which the streams are spread")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      .add_option("--grace", flags.grace_s,
                  "Seconds that requests get when no more are sent; then they are cancelled")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace

void AddBench(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("bench", "Put a load on a server and measure it");
  command->footer(kExamples);
  AddLoadFlags(*command, *flags);
  command->add_flag("--sweep", flags->sweep,
                    "Find the highest rate within the target, from --rate on, --duration each");
  command->add_option("--ttft-p99-ms", flags->ttft_p99_ms, "Target: first token at p99")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--inter-token-p99-ms", flags->inter_token_p99_ms,
                   "Target: time between tokens at p99")
      ->check(CLI::PositiveNumber);
  command->add_option("--tries", flags->tries, "Rates that --sweep tries at most")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--svg", flags->svg, "File for a plot of the sweep");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
