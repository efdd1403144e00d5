// Writes zip archives for tests.
#ifndef TESSERA_TESTS_UNIT_SHARD_LOADER_FORMAT_ZIP_BUILDER_H_
#define TESSERA_TESTS_UNIT_SHARD_LOADER_FORMAT_ZIP_BUILDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera::shard_loader {

template <typename T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// Version to checksum of a header, the fields that local and directory entries share.
inline void PutCommon(std::string* out, uint32_t stored_bytes, uint32_t bytes, uint16_t name) {
  Put<uint16_t>(out, 45);
  for (int i = 0; i < 4; ++i) Put<uint16_t>(out, 0);  // flags, stored, time, date
  Put<uint32_t>(out, 0);                              // checksum
  Put<uint32_t>(out, stored_bytes);
  Put<uint32_t>(out, bytes);
  Put<uint16_t>(out, name);
}

inline void PutLocal(std::string* out, const std::string& name, const std::string& data) {
  Put<uint32_t>(out, 0x04034b50);
  const auto size = static_cast<uint32_t>(data.size());
  PutCommon(out, size, size, static_cast<uint16_t>(name.size()));
  Put<uint16_t>(out, 0);
  *out += name + data;
}

inline void PutEnd(std::string* out, uint16_t records, uint32_t bytes, uint32_t offset) {
  Put<uint32_t>(out, 0x06054b50);
  Put<uint32_t>(out, 0);
  Put<uint16_t>(out, records);
  Put<uint16_t>(out, records);
  Put<uint32_t>(out, bytes);
  Put<uint32_t>(out, offset);
  Put<uint16_t>(out, 0);
}

// Stored records of the given names and contents.
inline std::string MakeZip(const std::vector<std::pair<std::string, std::string>>& records) {
  std::string out;
  std::string directory;
  for (const auto& [name, data] : records) {
    const auto size = static_cast<uint32_t>(data.size());
    Put<uint32_t>(&directory, 0x02014b50);
    Put<uint16_t>(&directory, 45);
    PutCommon(&directory, size, size, static_cast<uint16_t>(name.size()));
    directory.append(12, '\0');  // extra, comment, disk, attributes
    Put<uint32_t>(&directory, static_cast<uint32_t>(out.size()));
    directory += name;
    PutLocal(&out, name, data);
  }
  const auto offset = static_cast<uint32_t>(out.size());
  out += directory;
  PutEnd(&out, static_cast<uint16_t>(records.size()), static_cast<uint32_t>(directory.size()),
         offset);
  return out;
}

// One record whose sizes and offset stand in the 64-bit fields only.
inline std::string MakeZip64(const std::string& name, const std::string& data) {
  std::string out;
  PutLocal(&out, name, data);
  const uint64_t directory = out.size();
  Put<uint32_t>(&out, 0x02014b50);
  Put<uint16_t>(&out, 45);
  PutCommon(&out, UINT32_MAX, UINT32_MAX, static_cast<uint16_t>(name.size()));
  Put<uint16_t>(&out, 28);  // extra
  out.append(10, '\0');
  Put<uint32_t>(&out, UINT32_MAX);
  out += name;
  Put<uint16_t>(&out, 1);
  Put<uint16_t>(&out, 24);
  Put<uint64_t>(&out, data.size());
  Put<uint64_t>(&out, data.size());
  Put<uint64_t>(&out, 0);
  const uint64_t end = out.size();
  Put<uint32_t>(&out, 0x06064b50);
  Put<uint64_t>(&out, 44);
  Put<uint32_t>(&out, 45 | 45 << 16);
  Put<uint64_t>(&out, 0);  // disks
  Put<uint64_t>(&out, 1);
  Put<uint64_t>(&out, 1);
  Put<uint64_t>(&out, end - directory);
  Put<uint64_t>(&out, directory);
  Put<uint32_t>(&out, 0x07064b50);
  Put<uint32_t>(&out, 0);
  Put<uint64_t>(&out, end);
  Put<uint32_t>(&out, 1);
  PutEnd(&out, UINT16_MAX, UINT32_MAX, UINT32_MAX);
  return out;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_TESTS_UNIT_SHARD_LOADER_FORMAT_ZIP_BUILDER_H_
