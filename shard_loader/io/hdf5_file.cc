// libhdf5 is asked in a process of its own (Debian's crashes on files that were made to), which
// hands what it found over as CBOR: [code, message], or [0, [path, type, shape, chunk shape, codec,
// [[origin, offset, bytes]...]]...].
#include "shard_loader/io/hdf5_file.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/io/file.h"
#include "shard_loader/io/hdf5_listing.h"
#include "shard_loader/io/isolated.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr size_t kMaxAnswer = size_t{256} << 20;

std::string Encode(const absl::StatusOr<std::vector<Hdf5Dataset>>& found) {
  json answer = json::array({static_cast<int>(found.status().code())});
  if (!found.ok()) {
    answer.push_back(std::string(found.status().message()));
  } else {
    for (const Hdf5Dataset& set : *found) {
      json chunks = json::array();
      for (const Hdf5Chunk& chunk : set.chunks) {
        chunks.push_back(json::array({chunk.origin, chunk.data.offset, chunk.data.bytes}));
      }
      answer.push_back(
          json::array({set.path, static_cast<int>(set.type), set.shape, set.chunk_shape,
                       static_cast<int>(set.codec), std::move(chunks)}));
    }
  }
  const std::vector<uint8_t> bytes = json::to_cbor(answer);
  return std::string(bytes.begin(), bytes.end());
}

// Throws where the answer has another form.
absl::StatusOr<std::vector<Hdf5Dataset>> Decode(const std::string& bytes) {
  const json answer = json::from_cbor(bytes);
  const auto code = static_cast<absl::StatusCode>(answer.at(0).get<int>());
  if (code != absl::StatusCode::kOk) return absl::Status(code, answer.at(1).get<std::string>());
  std::vector<Hdf5Dataset> found;
  for (size_t i = 1; i < answer.size(); ++i) {
    const json& set = answer[i];
    Hdf5Dataset& dataset = found.emplace_back();
    set.at(0).get_to(dataset.path);
    dataset.type = static_cast<StoredType>(set.at(1).get<uint8_t>());
    set.at(2).get_to(dataset.shape);
    set.at(3).get_to(dataset.chunk_shape);
    dataset.codec = static_cast<Codec>(set.at(4).get<uint8_t>());
    for (const json& chunk : set.at(5)) {
      dataset.chunks.push_back({chunk.at(0).get<std::vector<int64_t>>(),
                                {chunk.at(1).get<uint64_t>(), chunk.at(2).get<uint64_t>()}});
    }
  }
  return found;
}

// A library that went wrong without crashing could have said anything.
bool Possible(const Hdf5Dataset& dataset, uint64_t file_size) {
  const size_t rank = dataset.shape.size();
  if (rank > kMaxDimensions || dataset.type > StoredType::kOther || dataset.codec > Codec::kBlosc) {
    return false;
  }
  for (const Hdf5Chunk& chunk : dataset.chunks) {
    if (chunk.origin.size() != rank || dataset.chunk_shape.size() != rank ||
        !Within(chunk.data.offset, chunk.data.bytes, file_size)) {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<std::vector<Hdf5Dataset>> ReadHdf5(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const File file, File::Open(path));  // for its size, and errors with a reason
  const auto corrupt = [&](std::string_view what) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file.name(), ": ", std::string(what),
                                            "; the file is truncated or corrupt"));
  };
  auto answer =
      RunIsolated(kMaxAnswer, [&] { return Encode(ListHdf5(path, file.name(), file.size())); });
  if (absl::IsDataLoss(answer.status())) return corrupt(std::string(answer.status().message()));
  RETURN_IF_ERROR(answer.status());
  try {
    ASSIGN_OR_RETURN(std::vector<Hdf5Dataset> found, Decode(*answer));
    for (const Hdf5Dataset& dataset : found) {
      if (!Possible(dataset, file.size())) return corrupt("its headers contradict each other");
    }
    return found;
  } catch (const json::exception&) {
    return corrupt("the library that reads it went wrong on it");
  }
}

}  // namespace tessera::shard_loader
