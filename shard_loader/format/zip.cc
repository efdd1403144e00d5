#include "shard_loader/format/zip.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint32_t kLocalMagic = 0x04034b50;
constexpr uint32_t kDirectoryMagic = 0x02014b50;
constexpr uint32_t kEndMagic = 0x06054b50;
constexpr uint32_t kLocatorMagic = 0x07064b50;
constexpr uint32_t kEnd64Magic = 0x06064b50;
constexpr uint64_t kLocalBytes = 30;
constexpr uint64_t kDirectoryBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kLocatorBytes = 20;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kMaxComment = 65535;

template <typename T>
T Get(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

absl::Status Corrupt(const ByteSource& file, std::string_view what) {
  return absl::DataLossError(absl::StrCat("shard_loader: ", file.name(), ": ", std::string(what),
                                          "; the zip archive is truncated or corrupt"));
}

struct Directory {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t records = 0;
};

// The end record with 64-bit fields, whose locator stands before the plain one.
absl::StatusOr<Directory> ReadEnd64(const ByteSource& file, uint64_t end_offset) {
  if (end_offset < kLocatorBytes) return Corrupt(file, "the zip64 locator is missing");
  ASSIGN_OR_RETURN(const std::string locator,
                   ReadString(file, end_offset - kLocatorBytes, kLocatorBytes));
  if (Get<uint32_t>(locator, 0) != kLocatorMagic) {
    return Corrupt(file, "the zip64 locator is missing");
  }
  ASSIGN_OR_RETURN(const std::string end, ReadString(file, Get<uint64_t>(locator, 8), kEnd64Bytes));
  if (Get<uint32_t>(end, 0) != kEnd64Magic) return Corrupt(file, "no zip64 end record");
  return Directory{Get<uint64_t>(end, 48), Get<uint64_t>(end, 40), Get<uint64_t>(end, 32)};
}

absl::StatusOr<Directory> FindDirectory(const ByteSource& file) {
  if (file.size() < kEndBytes) return Corrupt(file, "no zip end record");
  const uint64_t tail_bytes = std::min<uint64_t>(file.size(), kEndBytes + kMaxComment);
  const uint64_t tail_offset = file.size() - tail_bytes;
  ASSIGN_OR_RETURN(const std::string tail, ReadString(file, tail_offset, tail_bytes));
  for (uint64_t at = tail_bytes - kEndBytes + 1; at-- > 0;) {
    if (Get<uint32_t>(tail, at) != kEndMagic) continue;
    if (at + kEndBytes + Get<uint16_t>(tail, at + 20) != tail_bytes) continue;
    if (Get<uint16_t>(tail, at + 4) != 0 || Get<uint16_t>(tail, at + 6) != 0) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file.name(), ": a zip archive of several disks"));
    }
    Directory found{Get<uint32_t>(tail, at + 16), Get<uint32_t>(tail, at + 12),
                    Get<uint16_t>(tail, at + 10)};
    if (found.offset == UINT32_MAX || found.bytes == UINT32_MAX || found.records == UINT16_MAX) {
      ASSIGN_OR_RETURN(found, ReadEnd64(file, tail_offset + at));
    }
    const bool fits = Within(found.offset, found.bytes, tail_offset + at) &&
                      found.records <= found.bytes / kDirectoryBytes;
    if (!fits) return Corrupt(file, "the zip directory does not fit in the file");
    return found;
  }
  return Corrupt(file, "no zip end record");
}

// Replaces 32-bit fields that are all ones by those of the zip64 extra field.
bool ReadExtra64(std::string_view extra, ZipRecord* record) {
  uint64_t* const fields[] = {&record->bytes, &record->stored_bytes, &record->offset};
  const bool needed = std::any_of(std::begin(fields), std::end(fields),
                                  [](const uint64_t* field) { return *field == UINT32_MAX; });
  if (!needed) return true;
  while (extra.size() >= 4) {
    const auto id = Get<uint16_t>(extra, 0);
    const auto size = Get<uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (size > extra.size()) return false;
    if (id == 1) {
      std::string_view values = extra.substr(0, size);
      for (uint64_t* field : fields) {
        if (*field != UINT32_MAX) continue;
        if (values.size() < 8) return false;
        *field = Get<uint64_t>(values, 0);
        values.remove_prefix(8);
      }
      return true;
    }
    extra.remove_prefix(size);
  }
  return false;
}

// The record at the front of `directory`, which moves on; its offset is that of the local header.
absl::StatusOr<ZipRecord> ReadRecord(const ByteSource& file, std::string_view* directory) {
  if (directory->size() < kDirectoryBytes || Get<uint32_t>(*directory, 0) != kDirectoryMagic) {
    return Corrupt(file, "a zip directory entry is missing");
  }
  const std::string_view fixed = directory->substr(0, kDirectoryBytes);
  const uint64_t name_bytes = Get<uint16_t>(fixed, 28);
  const uint64_t extra_bytes = Get<uint16_t>(fixed, 30);
  const uint64_t comment_bytes = Get<uint16_t>(fixed, 32);
  const uint64_t entry_bytes = kDirectoryBytes + name_bytes + extra_bytes + comment_bytes;
  if (entry_bytes > directory->size()) return Corrupt(file, "a zip directory entry is cut off");
  ZipRecord record;
  record.name = std::string(directory->substr(kDirectoryBytes, name_bytes));
  record.stored_bytes = Get<uint32_t>(fixed, 20);
  record.bytes = Get<uint32_t>(fixed, 24);
  record.offset = Get<uint32_t>(fixed, 42);
  const auto flags = Get<uint16_t>(fixed, 8);
  const auto method = Get<uint16_t>(fixed, 10);
  if ((flags & 1) != 0 || (method != 0 && method != 8)) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file.name(), ": zip record '", Excerpt(record.name),
                     "' is encrypted or compressed by method ", method, ", expected 0 or 8"));
  }
  record.deflated = method == 8;
  if (!ReadExtra64(directory->substr(kDirectoryBytes + name_bytes, extra_bytes), &record)) {
    return Corrupt(file, "a zip64 extra field is missing or cut off");
  }
  directory->remove_prefix(entry_bytes);
  return record;
}

// Turns the offset of the local header into that of the data.
absl::Status FindData(const ByteSource& file, uint64_t directory_offset, ZipRecord* record) {
  if (!Within(record->offset, kLocalBytes, directory_offset)) {
    return Corrupt(file, "a zip record lies outside of the file");
  }
  ASSIGN_OR_RETURN(const std::string local, ReadString(file, record->offset, kLocalBytes));
  const uint64_t name_bytes = Get<uint16_t>(local, 26);
  const uint64_t data = record->offset + kLocalBytes + name_bytes + Get<uint16_t>(local, 28);
  if (Get<uint32_t>(local, 0) != kLocalMagic || name_bytes != record->name.size() ||
      Get<uint16_t>(local, 8) != (record->deflated ? 8 : 0)) {
    return Corrupt(file, "a zip record disagrees with the directory");
  }
  if (!Within(data, record->stored_bytes, directory_offset)) {
    return Corrupt(file, absl::StrCat("zip record '", Excerpt(record->name), "' of ",
                                      record->stored_bytes, " bytes runs past the end"));
  }
  if (!record->deflated && record->bytes != record->stored_bytes) {
    return Corrupt(file, "a stored zip record has two sizes");
  }
  record->offset = data;
  return absl::OkStatus();
}

absl::Status CheckOverlap(const ByteSource& file, const std::vector<ZipRecord>& records) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const ZipRecord& record : records) {
    if (record.stored_bytes > 0) {
      ranges.emplace_back(record.offset, record.offset + record.stored_bytes);
    }
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) return Corrupt(file, "two zip records overlap");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ZipRecord>> ReadZipDirectory(const ByteSource& file) {
  ASSIGN_OR_RETURN(const Directory found, FindDirectory(file));
  ASSIGN_OR_RETURN(const std::string bytes, ReadString(file, found.offset, found.bytes));
  std::string_view directory = bytes;
  std::vector<ZipRecord> records;
  absl::flat_hash_set<std::string> names;
  for (uint64_t i = 0; i < found.records; ++i) {
    ASSIGN_OR_RETURN(ZipRecord record, ReadRecord(file, &directory));
    RETURN_IF_ERROR(FindData(file, found.offset, &record));
    if (!names.insert(record.name).second) {
      return Corrupt(file,
                     absl::StrCat("zip record '", Excerpt(record.name), "' stands there twice"));
    }
    records.push_back(std::move(record));
  }
  RETURN_IF_ERROR(CheckOverlap(file, records));
  return records;
}

bool LooksLikeZip(std::string_view front) {
  return front.size() >= 4 && Get<uint32_t>(front, 0) == kLocalMagic;
}

}  // namespace tessera::shard_loader
