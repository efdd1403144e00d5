#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/weight_files.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kStretches = 16;
constexpr uint64_t kStretchBytes = 64;
constexpr size_t kDigestBytes = 16;  // of SHA-256's 32: enough to tell checkpoints apart

// SHA-256 over fields, each with its length before it, so that no two lists of fields look alike.
class Hash {
 public:
  Hash() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Hash() { EVP_MD_CTX_free(context_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;

  void Add(const void* bytes, size_t size) {
    const std::string length = absl::StrCat(size, ":");
    EVP_DigestUpdate(context_, length.data(), length.size());
    EVP_DigestUpdate(context_, bytes, size);
  }
  void Add(const std::string& text) { Add(text.data(), text.size()); }

  std::string Hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    EVP_DigestFinal_ex(context_, digest.data(), nullptr);
    std::string hex;
    for (size_t i = 0; i < kDigestBytes; ++i) {
      absl::StrAppend(&hex, absl::Hex(digest[i], absl::kZeroPad2));
    }
    return hex;
  }

 private:
  EVP_MD_CTX* context_;  // owned
};

absl::Status AddStretches(const std::filesystem::path& path, const WeightFile& info, Hash& hash) {
  ASSIGN_OR_RETURN(File file, File::Open(path));
  if (file.size() != info.size) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", info.name, ": has ", file.size(),
                                            " bytes, had ", info.size, " a moment ago"));
  }
  const uint64_t data = info.size - info.data_begin;
  const uint64_t length = std::min(kStretchBytes, data);
  std::array<std::byte, kStretchBytes> bytes{};
  for (uint64_t i = 0; i < kStretches; ++i) {
    const uint64_t offset = info.data_begin + (data - length) * i / (kStretches - 1);
    RETURN_IF_ERROR(file.ReadAt(offset, absl::MakeSpan(bytes.data(), length)));
    hash.Add(bytes.data(), length);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WeightsVersion(const std::filesystem::path& folder,
                                           const WeightFiles& files, const std::string& config) {
  Hash hash;
  hash.Add("tessera weights 1");
  hash.Add(config);
  for (const WeightFile& file : files.files) {
    hash.Add(absl::StrCat(file.size));
    hash.Add(file.header);
    if (file.inlined) {
      hash.Add(*file.inlined);
    } else {
      RETURN_IF_ERROR(AddStretches(folder / file.name, file, hash));
    }
  }
  return hash.Hex();
}

std::string FilesStamp(const std::filesystem::path& folder, const WeightFiles& files) {
  Hash hash;
  for (const WeightFile& file : files.files) {
    std::error_code error;
    const auto written = std::filesystem::last_write_time(folder / file.name, error);
    hash.Add(file.name);
    hash.Add(absl::StrCat(file.size, " ", written.time_since_epoch().count()));
  }
  return hash.Hex();
}

}  // namespace tessera::shard_loader
