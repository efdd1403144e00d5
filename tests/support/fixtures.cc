#include "tests/support/fixtures.h"

#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace tessera::tests {

namespace {

// A program that was carried to another machine finds its inputs from the folder that it runs in.
std::filesystem::path SourceDir() {
  std::error_code error;
  if (std::filesystem::is_directory(TESSERA_SOURCE_DIR, error)) return TESSERA_SOURCE_DIR;
  return std::filesystem::current_path();
}

}  // namespace

std::filesystem::path Fixture(const std::string& path) {
  return SourceDir() / "tests/fixtures" / path;
}

std::filesystem::path DemoModel() { return SourceDir() / "deploy/models/demo/model"; }

std::filesystem::path Program(const std::string& name) {
  return std::filesystem::path(TESSERA_BINARY_DIR) / "bin" / name;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

nlohmann::json ReadJson(const std::filesystem::path& path) {
  return nlohmann::json::parse(ReadFile(path));
}

void SkipTest(const std::string& reason) {
  std::printf("SKIPPED: %s\n", reason.c_str());
  std::fflush(stdout);
  std::_Exit(77);
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tessera-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tessera::tests
