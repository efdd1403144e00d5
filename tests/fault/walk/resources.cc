#include "tests/fault/walk/resources.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace tessera::tests {
namespace {

namespace fs = std::filesystem;

// State and parent of /proc/PID/stat (proc(5)): behind the name, which may hold anything.
bool IsLivingChild(const fs::path& process, pid_t parent) {
  std::ifstream file(process / "stat");
  std::string text;
  std::getline(file, text, '\0');  // nothing where the process ends meanwhile
  size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return false;
  std::istringstream fields(text.substr(name_end + 1));
  char state = 0;
  pid_t its_parent = 0;
  fields >> state >> its_parent;
  return its_parent == parent && state != 'Z' && state != 'X';
}

size_t CountEntries(const fs::path& folder) {
  std::error_code error;
  size_t count = 0;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (IsLivingChild(entry->path(), parent)) children.push_back(std::stoi(name));
  }
  std::sort(children.begin(), children.end());
  return children;
}

Resources ResourcesOf(pid_t process) {
  const fs::path folder = fs::path("/proc") / std::to_string(process);
  Resources resources;
  resources.children = ChildrenOf(process).size();
  resources.threads = CountEntries(folder / "task");
  std::error_code error;
  for (fs::directory_iterator entry(folder / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    ++resources.descriptors;
    resources.sockets += fs::read_symlink(entry->path(), gone).string().starts_with("socket:");
  }
  std::ifstream memory(folder / "smaps_rollup");
  for (std::string line; std::getline(memory, line);) {
    // Not what is mapped from files: whether that is shared depends on what else runs.
    if (!line.starts_with("Anonymous:") && !line.starts_with("Swap:")) continue;
    resources.memory_kb += std::stoull(line.substr(line.find(':') + 1));
  }
  return resources;
}

}  // namespace tessera::tests
