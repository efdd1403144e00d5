// What can be opened, from the tables of the families and formats: the text of SUPPORT.md.
#ifndef TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_
#define TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_

#include <string>
#include <vector>

namespace tessera::shard_loader {

// A checkpoint format that Checkpoint::Open reads.
struct Format {
  const char* name;
  const char* files;   // in the folder
  const char* dtypes;  // of weights
};

const std::vector<Format>& Formats();

// Markdown; shard_loader/SUPPORT.md holds exactly this.
std::string SupportMarkdown();

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_
