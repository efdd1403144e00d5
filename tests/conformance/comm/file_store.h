// A KeyValueStore in a folder that the ranks share.
#ifndef TESSERA_TESTS_CONFORMANCE_COMM_FILE_STORE_H_
#define TESSERA_TESTS_CONFORMANCE_COMM_FILE_STORE_H_

#include <time.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "worker/comm/key_value_store.h"

namespace tessera::tests {

class FileStore : public worker::KeyValueStore {
 public:
  explicit FileStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  absl::Status Set(const std::string& key, const std::string& value) override {
    const auto file = Path(key);
    const std::string draft = file.string() + ".draft";
    std::ofstream(draft, std::ios::binary) << value;
    std::error_code error;
    std::filesystem::rename(draft, file, error);
    if (error) return absl::UnavailableError(error.message());
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override {
    const absl::Time deadline = absl::Now() + timeout;
    const auto file = Path(key);
    while (!std::filesystem::exists(file)) {
      if (absl::Now() >= deadline) {
        return absl::DeadlineExceededError(absl::StrCat("nobody has set ", key));
      }
      const timespec pause = {0, 1'000'000};
      nanosleep(&pause, nullptr);
    }
    std::ostringstream value;
    value << std::ifstream(file, std::ios::binary).rdbuf();
    return value.str();
  }

 private:
  std::filesystem::path Path(const std::string& key) const {
    std::string name = key;
    for (char& c : name) {
      if (c == '/') c = '_';
    }
    return folder_ / name;
  }

  const std::filesystem::path folder_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_CONFORMANCE_COMM_FILE_STORE_H_
