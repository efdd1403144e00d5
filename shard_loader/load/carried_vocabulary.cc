#include "shard_loader/load/carried_vocabulary.h"

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {

absl::StatusOr<GgufVocabulary> ReadCarriedVocabulary(const Checkpoint& checkpoint) {
  if (checkpoint.format() != GgufFormat().name) {
    return absl::NotFoundError(absl::StrCat("shard_loader: checkpoints of format ",
                                            checkpoint.format(), " carry no tokenizer"));
  }
  const std::string& name = checkpoint.files()[0].name;
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file,
                   ByteFile::Open(checkpoint.folder() / name));
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> gguf, GgufFile::Read(*file));
  return ReadVocabulary(*gguf, name);
}

}  // namespace tessera::shard_loader
