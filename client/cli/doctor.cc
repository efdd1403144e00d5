#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/child.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/json.h"
#include "client/cli/machine.h"
#include "client/cli/serve.h"
#include "client/cli/terminal.h"
#include "proto/rpc/version.h"
#include "shard_loader/io/host_memory.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/describe.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Looks at the machine, asks tessera-worker what it can run here, lets every pair of ranks\n"
    "exchange data over every communicator, and checks a checkpoint and its plan. Exit code 1:\n"
    "something is wrong.\n"
    "Examples:\n"
    "  tessera doctor\n"
    "  tessera doctor --model ./Llama-3.2-1B-Instruct --tp 2\n"
    "  tessera doctor --json";

// Collectives have deadlines of their own, far below this one.
constexpr absl::Duration kWorkerTimeout = absl::Seconds(60);
constexpr int kMaxRanks = 16;

struct Flags {
  std::string model;
  int tp = 1;
  int pp = 1;
  bool json = false;
};

struct Check {
  std::string name;
  bool ok = true;
  std::string detail;
};

Check CheckProcessors() {
  const Processors found = ReadProcessors();
  std::string detail = absl::StrCat(found.model.empty() ? "processor" : found.model, ", ",
                                    found.usable, " of ", found.online, " usable");
  if (found.quota > 0)
    absl::StrAppend(&detail, absl::StrFormat(", cgroup quota %.2f", found.quota));
  return {"processors", found.usable > 0, detail};
}

Check CheckMemory() {
  auto memory = shard_loader::ReadHostMemory();
  if (!memory.ok()) return {"memory", false, std::string(memory.status().message())};
  return {"memory", memory->usable() > 0,
          absl::StrCat(HumanBytes(memory->available), " free of ", HumanBytes(memory->total),
                       ", limited by ", memory->limit)};
}

Check CheckServer(const Context& context) {
  auto result =
      RunChild({(context.bin_dir / "tessera-server").string(), "--version"}, kWorkerTimeout);
  if (!result.ok()) return {"server", false, std::string(result.status().message())};
  const std::string version = std::string(absl::StripAsciiWhitespace(result->out));
  const bool same = version.find(std::string(rpc::Version())) != std::string::npos;
  return {"server", result->exit_code == 0,
          same ? version : absl::StrCat(version, ", another build than this command")};
}

std::string NamesOf(const Json& list) {
  std::vector<std::string> names;
  for (const Json& entry : list) {
    names.push_back(entry.is_string() ? entry.get<std::string>() : entry.value("name", "?"));
  }
  return absl::StrJoin(names, ", ");
}

// A clock that heat or power holds down, or a pair of devices that cannot reach each other, costs
// speed and is told; it is no failure.
void AddCudaDevice(const Json& device, const std::string& driver, std::vector<Check>& checks) {
  std::string detail = absl::StrCat(
      device.value("name", "?"), " at ", device.value("bus", "?"), ", compute capability ",
      device.value("compute_capability", "?"), ", ", device.value("clock_mhz", 0), " MHz, ",
      HumanBytes(device.value("free_bytes", int64_t{0})), " free of ",
      HumanBytes(device.value("total_bytes", int64_t{0})), "; driver ", driver);
  if (device.contains("clock_now_mhz")) {
    absl::StrAppend(&detail, "; now ", device.value("clock_now_mhz", 0), " of ",
                    device.value("max_clock_mhz", 0), " MHz, memory ",
                    device.value("memory_clock_mhz", 0), " MHz, ", device.value("nvlinks", 0),
                    " NVLinks, PCIe ", device.value("pcie", "?"));
  }
  const std::string slowed = device.value("slowed_by", "");
  if (!slowed.empty()) absl::StrAppend(&detail, "; SLOWED by ", slowed);
  checks.push_back({absl::StrCat("cuda device ", device.value("index", 0)), true, detail});
}

// A machine without CUDA is as good; what is missing is told.
void AddCudaReport(const Json& cuda, std::vector<Check>& checks) {
  std::string driver = absl::StrCat("for CUDA ", cuda.value("driver", "?"));
  if (cuda.contains("driver_package")) {
    driver = absl::StrCat(cuda.value("driver_package", "?"), " ", driver);
  }
  for (const Json& device : cuda.value("devices", Json::array())) {
    AddCudaDevice(device, driver, checks);
  }
  for (const Json& link : cuda.value("links", Json::array())) {
    const std::vector<int> devices = link.value("devices", std::vector<int>());
    checks.push_back(
        {absl::StrCat("cuda link ", absl::StrJoin(devices, "-")), true,
         absl::StrCat(link.value("path", "?"), link.value("peer_access", false)
                                                   ? ""
                                                   : ", no peer access: by way of the host")});
  }
  const std::string nvml = cuda.value("nvml_problem", "");
  if (!nvml.empty()) checks.push_back({"cuda clocks and links", true, "not known: " + nvml});
  if (cuda.contains("nccl")) checks.push_back({"nccl", true, cuda.value("nccl", "?")});
  const std::string nccl = cuda.value("nccl_problem", "");
  if (!nccl.empty()) checks.push_back({"nccl", true, absl::StrCat("not used: ", nccl)});
  const std::string problem = cuda.value("problem", "");
  if (!problem.empty()) checks.push_back({"cuda", true, absl::StrCat("not used: ", problem)});
}

// The first is what `--kernels auto` takes.
std::string KernelsInWords(const Json& report) {
  std::string text = NamesOf(report.value("kernels", Json::array()));
  if (const size_t end = text.find(','); end != std::string::npos) {
    text.insert(end, " (auto: the best one here)");
  }
  for (const Json& set : report.value("absent_kernels", Json::array())) {
    absl::StrAppend(&text, "; not ", set.value("name", "?"), ", which needs ",
                    set.value("needs", "?"));
  }
  return text;
}

// What the worker reports (worker/app/self_check.h) as checks of ours.
void AddWorkerReport(const Json& report, std::vector<Check>& checks) {
  checks.push_back(
      {"worker", true,
       absl::StrCat(report.value("version", "?"), ", device ", report.value("device", "?"), ", ",
                    report.value("threads", 0), " threads")});
  const Json kernels = report.value("kernels", Json::array());
  checks.push_back({"kernels", !kernels.empty(), KernelsInWords(report)});
  AddCudaReport(report.value("cuda", Json::object()), checks);
  const Json comms = report.value("comms", Json::array());
  checks.push_back({"communicators", !comms.empty(), NamesOf(comms)});
  for (const Json& pair : report.value("pairs", Json::array())) {
    const std::vector<int> ranks = pair.value("ranks", std::vector<int>());
    checks.push_back(
        {absl::StrCat("collectives ", pair.value("comm", "?"), " ", absl::StrJoin(ranks, "-")),
         pair.value("ok", false), pair.value("detail", "")});
  }
}

void CheckWorker(const Flags& flags, const Context& context, std::vector<Check>& checks) {
  const std::string worker = (context.bin_dir / "tessera-worker").string();
  // Two at least, so that there is a pair; more than kMaxRanks would tell nothing new.
  const int ranks = std::clamp(flags.tp * flags.pp, 2, kMaxRanks);
  auto result = RunChild({worker, "--self-check", "--pairs", absl::StrCat(ranks)}, kWorkerTimeout);
  if (!result.ok()) {
    checks.push_back({"worker", false, std::string(result.status().message())});
    return;
  }
  const Json report = Json::parse(result->out, nullptr, /*allow_exceptions=*/false);
  if (result->exit_code != 0 || !report.is_object()) {
    checks.push_back({"worker", false,
                      absl::StrCat(worker, " --self-check ended with ", result->exit_code, ": ",
                                   result->err.substr(0, 400))});
    return;
  }
  try {
    AddWorkerReport(report, checks);
  } catch (const Json::exception& error) {
    checks.push_back({"worker", false, absl::StrCat("a report of another form: ", error.what())});
  }
}

void CheckModel(const Flags& flags, const Context& context, std::vector<Check>& checks) {
  std::string model = flags.model;
  if (model.empty()) {
    auto bundled = FindBundledModel(context.bin_dir);
    if (!bundled.ok()) {
      checks.push_back({"checkpoint", false, std::string(bundled.status().message())});
      return;
    }
    model = bundled->string();
  }
  auto checkpoint = shard_loader::Checkpoint::Open(model);
  if (!checkpoint.ok()) {
    checks.push_back({"checkpoint", false, std::string(checkpoint.status().message())});
    return;
  }
  checks.push_back(
      {"checkpoint", true,
       absl::StrCat(model, ": ", (*checkpoint)->spec().family, ", ",
                    absl::StrFormat("%.3g", static_cast<double>((*checkpoint)->num_parameters())),
                    " parameters, ", HumanBytes((*checkpoint)->total_bytes()))});
  shard_loader::PlanRequest request;
  request.layout.tp = flags.tp;
  request.layout.pp = flags.pp;
  request.memory = true;
  auto plan = shard_loader::PlanJson(**checkpoint, request);
  const std::string name = absl::StrCat("plan tp ", flags.tp, " x pp ", flags.pp);
  if (!plan.ok()) {
    checks.push_back({name, false, std::string(plan.status().message())});
    return;
  }
  const bool fits = plan->value("fits", true);
  checks.push_back({name, fits, fits ? "fits" : plan->value("why", "does not fit")});
}

void Print(const std::vector<Check>& checks, const Context& context) {
  size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  for (const Check& check : checks) {
    context.io.out << (check.ok ? Styled("ok  ", Style::kGreen, context.use_color())
                                : Styled("FAIL", Style::kRed, context.use_color()))
                   << "  " << check.name << std::string(width - check.name.size() + 2, ' ')
                   << Escaped(check.detail) << "\n";
  }
}

Json ToJson(const std::vector<Check>& checks, bool ok) {
  Json list = Json::array();
  for (const Check& check : checks) {
    list.push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  }
  return {{"ok", ok}, {"version", std::string(rpc::Version())}, {"checks", std::move(list)}};
}

int Run(const Flags& flags, const Context& context) {
  std::vector<Check> checks = {CheckProcessors(), CheckMemory(), CheckServer(context)};
  CheckWorker(flags, context, checks);
  CheckModel(flags, context, checks);
  const bool ok =
      std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.ok; });
  if (flags.json) {
    context.io.out << Pretty(ToJson(checks, ok)) << "\n";
  } else {
    Print(checks, context);
  }
  context.io.out.flush();
  return ok ? kExitOk : kExitFailed;
}

}  // namespace

void AddDoctor(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback, which outlives this call
  CLI::App* command = app.add_subcommand("doctor", "Check whether this machine can serve a model");
  command->footer(kExamples);
  command->add_option("--model", flags->model, "A checkpoint's folder; default: the bundled model")
      ->type_name("DIR");
  command->add_option("--tp", flags->tp, "Tensor-parallel ranks that are to work together")
      ->capture_default_str();
  command->add_option("--pp", flags->pp, "Pipeline stages, likewise")->capture_default_str();
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
