#include "shard_loader/io/byte_file.h"

#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {

absl::StatusOr<std::unique_ptr<ByteFile>> ByteFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(File file, File::Open(path));
  return std::unique_ptr<ByteFile>(new ByteFile(std::move(file)));
}

absl::Status ByteFile::Read(uint64_t offset, absl::Span<char> out) const {
  return file_.ReadAt(offset, absl::MakeSpan(reinterpret_cast<std::byte*>(out.data()), out.size()));
}

}  // namespace tessera::shard_loader
