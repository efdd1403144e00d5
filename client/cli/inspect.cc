// `inspect` and `plan`: what shard_loader knows of a checkpoint, without a server.
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/quantize.h"
#include "client/cli/serve.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/describe.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/plan/byte_size.h"
#include "shard_loader/status_macros.h"

namespace tessera::client {
namespace {

constexpr char kInspectExamples[] =
    "Reads the headers of the weight files and not the weights, but with --quantize.\n"
    "Examples:\n"
    "  tessera inspect ./Llama-3.2-1B-Instruct\n"
    "  tessera inspect ./Llama-3.2-1B-Instruct --json | jq .family\n"
    "  tessera inspect ./Llama-3.2-1B-Instruct --quantize int4:128";

constexpr char kPlanExamples[] =
    "Reads the headers of the weight files and not the weights. Exit code 1: it cannot fit, or "
    "the\n"
    "degrees are impossible.\n"
    "Examples:\n"
    "  tessera plan ./Llama-3.2-1B-Instruct --tp 2 --memory\n"
    "  tessera plan ./Llama-3.2-1B-Instruct --tp 3 --pp 2 --json";

struct InspectFlags {
  std::string dir;
  std::string format;
  std::string quantize;
  bool json = false;
};

struct PlanFlags {
  std::string dir;
  std::string format;
  bool json = false;
  std::string dtype = "auto";
  std::string kv_offload_dir;
  shard_loader::PlanRequest request;
};

int FailToOpen(const std::string& dir, const absl::Status& status, const Context& context) {
  return context.Fail(status, LooksLikeHubName(dir) ? DownloadHint(dir) : "");
}

int RunInspect(const InspectFlags& flags, const Context& context) {
  if (!flags.quantize.empty()) {  // by a worker, which opens the folder itself
    return RunQuantize(
        {.dir = flags.dir, .format = flags.format, .quantize = flags.quantize, .json = flags.json},
        context);
  }
  auto checkpoint = shard_loader::Checkpoint::Open(flags.dir, {.format = flags.format});
  if (!checkpoint.ok()) return FailToOpen(flags.dir, checkpoint.status(), context);
  if (flags.json) {
    context.io.out << shard_loader::InspectJson(**checkpoint).dump(2) << std::endl;
  } else {
    context.io.out << shard_loader::InspectText(**checkpoint) << std::flush;
  }
  return kExitOk;
}

// Prints the plan; false where it says that the model does not fit.
absl::StatusOr<bool> PrintPlan(const PlanFlags& flags, const shard_loader::Checkpoint& checkpoint,
                               std::ostream& out) {
  shard_loader::PlanRequest request = flags.request;
  if (flags.dtype != "auto") {
    request.weight_dtype = shard_loader::FormatFor(checkpoint, flags.dtype);
  }
  ASSIGN_OR_RETURN(nlohmann::json json, shard_loader::PlanJson(checkpoint, request));
  if (flags.json) {
    out << json.dump(2) << std::endl;
  } else {
    ASSIGN_OR_RETURN(std::string text, shard_loader::PlanText(checkpoint, request));
    out << text << std::flush;
  }
  return json.value("fits", true);
}

int RunPlan(const PlanFlags& flags, const Context& context) {
  auto checkpoint = shard_loader::Checkpoint::Open(flags.dir, {.format = flags.format});
  if (!checkpoint.ok()) return FailToOpen(flags.dir, checkpoint.status(), context);
  auto fits = PrintPlan(flags, **checkpoint, context.io.out);
  if (!fits.ok()) return context.Fail(fits.status(), "");
  return *fits ? kExitOk : kExitFailed;
}

void AddFormat(CLI::App& command, std::string& format) {
  command
      .add_option("--format", format,
                  "Format to read the folder as; default: the first one that it holds")
      ->check(CLI::IsMember(shard_loader::FormatNames()));
}

void AddOffload(CLI::App& command, PlanFlags& flags) {
  CLI::Option* size = command.add_option_function<std::string>(
      "--kv-offload",
      [&request = flags.request](const std::string& text) {
        const std::optional<int64_t> bytes = shard_loader::ParseBytes(text);
        if (!bytes) {
          throw CLI::ValidationError("--kv-offload",
                                     "'" + text + "' is not a size above 0, like 512MiB or 4GiB");
        }
        request.offload_bytes = *bytes;
        request.memory = true;
      },
      "Room of each rank for KV blocks that are evicted from the cache, like 4GiB; implies "
      "--memory");
  size->type_name("SIZE");
  command
      .add_option("--kv-offload-path", flags.kv_offload_dir,
                  "Folder for a file that is that room: it takes no memory then")
      ->type_name("DIR")
      ->needs(size);
}

}  // namespace

void AddInspect(CLI::App& app, Context& context) {
  auto flags = std::make_shared<InspectFlags>();  // shared with the callback
  CLI::App* command = app.add_subcommand("inspect", "Show what a checkpoint folder holds");
  command->footer(kInspectExamples);
  command->add_option("dir", flags->dir, "The checkpoint's folder")->required()->type_name("DIR");
  AddFormat(*command, flags->format);
  command
      ->add_option("--quantize", flags->quantize,
                   "Instead: read the weights, and show what holding them in int8 or int4 "
                   "costs each; groups as in int4:128")
      ->type_name("FORMAT");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &context] {
    context.action = [flags, &context] { return RunInspect(*flags, context); };
  });
}

void AddPlan(CLI::App& app, Context& context) {
  auto flags = std::make_shared<PlanFlags>();  // shared with the callback
  shard_loader::PlanRequest& request = flags->request;
  CLI::App* command =
      app.add_subcommand("plan", "Show what every rank would read and hold, before loading");
  command->footer(kPlanExamples);
  command->add_option("dir", flags->dir, "The checkpoint's folder")->required()->type_name("DIR");
  AddFormat(*command, flags->format);
  command->add_option("--tp", request.layout.tp, "Tensor-parallel ranks")->capture_default_str();
  command->add_option("--pp", request.layout.pp, "Pipeline stages")->capture_default_str();
  command
      ->add_option("--dp", request.replicas,
                   "Replicas of the group on this host, which share its memory")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  command->add_option("--lanes", request.layout.lanes, "Lanes, the unit of exactness")
      ->capture_default_str();
  command->add_option("--ep", request.layout.ep, "Expert-parallel degree: 1, or --tp")
      ->capture_default_str();
  command->add_flag("--memory", request.memory, "Exact bytes per rank, and whether they fit here");
  command->add_option("--dtype", flags->dtype, "How the weights are held; auto: as stored")
      ->check(CLI::IsMember(
          {"auto", "f32", "f16", "bf16", "int8", "int8-g32", "int4", "int4-g64", "int4-g128"}))
      ->capture_default_str();
  command
      ->add_option_function<std::string>(
          "--kv-dtype",
          [&request](const std::string& value) {
            request.kv_dtype = shard_loader::ParseKvFormat(value);
          },
          "How the KV cache is held; auto: as the weights")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8"}))
      ->default_str("auto");
  command
      ->add_option("--max-model-len", request.max_model_len,
                   "Tokens of the longest sequence; 0: the model's context")
      ->capture_default_str();
  command->add_option("--max-num-seqs", request.limits.max_num_seqs, "Sequences in one step")
      ->capture_default_str();
  command
      ->add_option("--max-num-batched-tokens", request.limits.max_num_batched_tokens,
                   "Tokens in one step; tessera-server has 2048 on CUDA devices")
      ->capture_default_str();
  command
      ->add_option("--num-kv-blocks", request.num_kv_blocks,
                   "Blocks of the KV cache; 0: as many as fit")
      ->capture_default_str();
  AddOffload(*command, *flags);
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &context] {
    flags->request.offload_to_file = !flags->kv_offload_dir.empty();
    context.action = [flags, &context] { return RunPlan(*flags, context); };
  });
}

}  // namespace tessera::client
