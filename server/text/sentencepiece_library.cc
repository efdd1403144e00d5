#include "server/text/sentencepiece_library.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace tessera::server {
namespace {

constexpr char kPluginFile[] = "libtessera_sentencepiece.so";

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
constexpr bool kSanitizer = true;
#else
constexpr bool kSanitizer = false;
#endif
#else
constexpr bool kSanitizer = false;
#endif

// Beside the program, in ../lib/tessera of an installation, in ../bin seen from tests.
std::filesystem::path FindPlugin() {
  std::error_code error;
  const auto bin = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto root = bin.parent_path();
  for (const auto& folder : {bin, root / "lib/tessera", root / "lib", root / "bin"}) {
    if (std::filesystem::is_regular_file(folder / kPluginFile, error)) return folder / kPluginFile;
  }
  return {};
}

struct Plugin {
  TesseraNewSentencePieceModel new_model = nullptr;
  std::string problem;  // where there is none
};

Plugin LoadPlugin() {
  const auto path = FindPlugin();
  if (path.empty()) {
    return {nullptr, absl::StrCat(kPluginFile,
                                  " is not beside the program nor in ../lib/tessera: build with "
                                  "libsentencepiece-dev, or use a checkpoint with tokenizer.json")};
  }
  // Sanitizers do not know RTLD_DEEPBIND; without it the two protobufs cannot live in one process.
  if (kSanitizer && dlsym(RTLD_DEFAULT, "_ZN6google8protobuf8internal13VerifyVersionEiiPKc")) {
    return {nullptr, "a sanitizer build cannot load libsentencepiece beside protobuf"};
  }
  const int own_symbols = kSanitizer ? 0 : RTLD_DEEPBIND;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | own_symbols);
  if (handle == nullptr) return {nullptr, absl::StrCat("cannot load the plugin: ", dlerror())};
  auto entry = reinterpret_cast<TesseraNewSentencePieceModel>(
      dlsym(handle, TESSERA_SENTENCEPIECE_PLUGIN_ENTRY));
  if (entry == nullptr) return {nullptr, absl::StrCat(path.string(), " is not our plugin")};
  return {entry, ""};
}

}  // namespace

std::string SentencePieceLibrary::Load(std::string_view model) {
  static const Plugin plugin = LoadPlugin();
  if (plugin.new_model == nullptr) return plugin.problem;
  model_.reset(plugin.new_model());
  std::string problem = model_->Load(model);
  if (problem.empty()) facts_ = model_->facts();
  return problem;
}

}  // namespace tessera::server
