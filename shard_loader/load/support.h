// What can be opened, from the tables of the families and formats: the text of SUPPORT.md.
#ifndef TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_
#define TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_

#include <string>

namespace tessera::shard_loader {

// Markdown; shard_loader/SUPPORT.md holds exactly this.
std::string SupportMarkdown();

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SUPPORT_H_
