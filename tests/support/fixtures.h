// Where tests find their inputs.
#ifndef TESSERA_TESTS_SUPPORT_FIXTURES_H_
#define TESSERA_TESTS_SUPPORT_FIXTURES_H_

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

namespace tessera::tests {

// The file or folder `path` below tests/fixtures of the source tree.
std::filesystem::path Fixture(const std::string& path);

// The bundled model's folder of the source tree (config.json and weights lie in it).
std::filesystem::path DemoModel();

// The program `name` of the build that the test belongs to (build/<preset>/bin).
std::filesystem::path Program(const std::string& name);

// A whole file as bytes; ends the test case where it cannot be read.
std::string ReadFile(const std::filesystem::path& path);

nlohmann::json ReadJson(const std::filesystem::path& path);

// Ends the process with the code that ctest counts as "skipped", after printing why.
[[noreturn]] void SkipTest(const std::string& reason);

// A new empty folder, removed with its contents in the destructor.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_FIXTURES_H_
