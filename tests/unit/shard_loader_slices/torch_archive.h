// Writes PyTorch's zip files with weights whose numbers do not matter.
#ifndef TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_TORCH_ARCHIVE_H_
#define TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_TORCH_ARCHIVE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tessera::shard_loader {

// One pickled value; call what makes it in the order of its parts.
class TorchArchive {
 public:
  void BeginDict() { pickle_ += "}("; }
  void EndDict() { pickle_ += 'u'; }
  void BeginList() { pickle_ += "]("; }
  void EndList() { pickle_ += 'e'; }
  void Text(const std::string& text);
  void Number(int64_t number);
  void Three() { pickle_ += std::string("G\x40\x08\0\0\0\0\0\0", 9); }  // 3.0
  void Tuple(const std::vector<int64_t>& numbers);
  // With a storage of its own, of 16 bits, or 32 where `wide`.
  void Tensor(const std::vector<int64_t>& shape, bool wide = false);
  void Write(const std::filesystem::path& path) const;

 private:
  std::string pickle_ = "\x80\x02";
  std::vector<std::pair<std::string, std::string>> records_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_TORCH_ARCHIVE_H_
