#include "client/cli/quantize.h"

#include <algorithm>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/cli/child.h"
#include "client/cli/exit_code.h"
#include "client/cli/json.h"
#include "client/cli/serve.h"
#include "client/cli/terminal.h"

namespace tessera::client {
namespace {

// The whole checkpoint is read, and coded.
constexpr absl::Duration kTimeout = absl::Hours(6);

// JSON has no NaN: null stands for an error of weights that are no finite numbers.
double Number(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_number()) return std::numeric_limits<double>::quiet_NaN();
  return found->get<double>();
}

void AddLine(const Json& entry, int width, std::string& text) {
  absl::StrAppendFormat(&text, "%-*s  %-19s %12d  %-10.3g %-10.3g %.3f %%%s\n", width,
                        Escaped(entry.value("name", "?")), Escaped(entry.value("format", "?")),
                        entry.value("elements", int64_t{0}), Number(entry, "max"),
                        Number(entry, "rms"), 100 * Number(entry, "relative"),
                        entry.value("as_stored", false) ? "  as stored" : "");
}

std::string Table(const Json& report) {
  const Json weights = report.value("weights", Json::array());
  int width = 6;
  for (const Json& weight : weights) {
    width = std::max(width, static_cast<int>(weight.value("name", "?").size()));
  }
  std::string text = absl::StrFormat("%-*s  %-19s %12s  %-10s %-10s %s\n", width, "weight",
                                     "format", "elements", "largest", "rms", "relative");
  for (const Json& weight : weights) AddLine(weight, width, text);
  AddLine(report.value("total", Json::object()), width, text);
  absl::StrAppend(&text,
                  "Of |w - q|: its largest and its root mean square, and its 2-norm beside that of "
                  "w, which is what the checkpoint's own blocks stand for where it has such.\n");
  return text;
}

}  // namespace

int RunQuantize(const QuantizeRequest& request, const Context& context) {
  std::vector<std::string> command = {(context.bin_dir / "tessera-worker").string(), "--quantize",
                                      absl::StrReplaceAll(request.quantize, {{":", "-g"}}),
                                      "--model", request.dir};
  if (!request.format.empty()) {
    command.push_back("--format");
    command.push_back(request.format);
  }
  auto result = RunChild(command, kTimeout);
  if (!result.ok()) return context.Fail(result.status());
  if (result->exit_code != 0) {
    absl::string_view message = result->err;
    while (absl::ConsumeSuffix(&message, "\n")) {
    }
    return context.Fail(absl::InternalError(message),
                        LooksLikeHubName(request.dir) ? DownloadHint(request.dir) : "");
  }
  const Json report = Json::parse(result->out, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) {
    return context.Fail(absl::InternalError("tessera-worker --quantize printed no report"));
  }
  context.io.out << (request.json ? Pretty(report) + "\n" : Table(report)) << std::flush;
  return kExitOk;
}

}  // namespace tessera::client
