// `convert`: a checkpoint of any format as safetensors.
#include <chrono>
#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/serve.h"
#include "shard_loader/load/carried_vocabulary.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/convert.h"
#include "shard_loader/load/formats.h"

namespace tessera::client {
namespace {

constexpr char kExamples[] =
    "Without --tp: one model.safetensors, or several with an index, with Hugging Face's names, "
    "beside\n"
    "config.json; quantised weights become f32, MXFP4 bf16. With --tp: a file for each rank with "
    "what\n"
    "it holds, which is served again on any degrees. Tokenizer files are copied.\n"
    "Examples:\n"
    "  tessera convert ./iter_0000010 ./out\n"
    "  tessera convert ./Llama-3.2-1B-Instruct ./cut --tp 4";

struct Flags {
  std::string in;
  std::string out;
  std::string format;
  shard_loader::ConvertOptions options;
  bool json = false;
};

// One line that is written over, on a terminal alone.
shard_loader::LoadProgress ProgressLine(const Context& context, bool* shown) {
  if (!context.io.err_is_terminal) return nullptr;
  auto last = std::make_shared<std::chrono::steady_clock::time_point>();
  return [&context, shown, last](uint64_t done, uint64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (now - *last < std::chrono::milliseconds(100)) return;
    *last = now;
    *shown = true;
    context.io.err << absl::StrFormat("\rconverting: %3d %% of %.1f MB",
                                      total == 0 ? 100 : static_cast<int>(done * 100 / total),
                                      static_cast<double>(total) / 1e6)
                   << std::flush;
  };
}

int Run(const Flags& flags, const Context& context) {
  auto checkpoint = shard_loader::Checkpoint::Open(flags.in, {.format = flags.format});
  if (!checkpoint.ok()) {
    return context.Fail(checkpoint.status(),
                        LooksLikeHubName(flags.in) ? DownloadHint(flags.in) : "");
  }
  bool shown = false;
  const shard_loader::LoadProgress progress = ProgressLine(context, &shown);
  auto converted = shard_loader::Convert(**checkpoint, flags.out, flags.options, progress);
  if (shown) context.io.err << "\r\x1b[K" << std::flush;
  if (!converted.ok()) return context.Fail(converted.status(), "");
  const bool carries = shard_loader::ReadCarriedVocabulary(**checkpoint).ok();
  nlohmann::json report = {{"format", (*checkpoint)->format()}, {"copied", converted->copied}};
  for (const auto& file : converted->files) {
    report["files"].push_back({{"name", file.name}, {"bytes", file.size}});
  }
  if (flags.json) {
    context.io.out << report.dump(2) << std::endl;
    return kExitOk;
  }
  context.io.out << flags.in << " (" << (*checkpoint)->format() << ") -> " << flags.out << "\n";
  for (const auto& file : converted->files) {
    context.io.out << absl::StrFormat("  %-36s %12d bytes\n", file.name, file.size);
  }
  if (carries) {
    context.io.out << "The tokenizer is inside of the source's weight file and was not converted: "
                      "put a tokenizer.json into the new folder.\n";
  }
  return kExitOk;
}

}  // namespace

void AddConvert(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();  // shared with the callback
  CLI::App* command = app.add_subcommand("convert", "Write a checkpoint as safetensors");
  command->footer(kExamples);
  command->add_option("in", flags->in, "The checkpoint's folder")->required()->type_name("IN");
  command->add_option("out", flags->out, "A new folder")->required()->type_name("OUT");
  command
      ->add_option("--format", flags->format,
                   "Format to read the folder as; default: the first one that it holds")
      ->check(CLI::IsMember(shard_loader::FormatNames()));
  command->add_option("--tp", flags->options.tp, "Cut for so many tensor-parallel ranks; 0: whole")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--lanes", flags->options.lanes, "Lanes, at whose borders it is cut")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback(
      [flags, &context] { context.action = [flags, &context] { return Run(*flags, context); }; });
}

}  // namespace tessera::client
