#include "shard_loader/load/piece_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/decompress.h"
#include "shard_loader/format/fp8.h"
#include "shard_loader/format/ggml_blocks.h"
#include "shard_loader/format/mxfp4.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kPartBytes = 8 << 20;  // read at a time
constexpr size_t kMostOpenFiles = 64;

bool SameFormat(StoredType stored, DType dtype) {
  return (stored == StoredType::kF32 && dtype == DType::kF32) ||
         (stored == StoredType::kF16 && dtype == DType::kF16) ||
         (stored == StoredType::kBF16 && dtype == DType::kBF16);
}

// A number of 16 or 32 bits as float32, exactly.
float Widen(StoredType type, const std::byte* bytes) {
  if (type == StoredType::kF32) {
    float value = 0;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof(bits));
  if (type == StoredType::kF16) return HalfToFloat(bits);
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Writes values that `dtype`, f32 or bf16, holds exactly.
void PutValues(absl::Span<const float> values, DType dtype, std::byte* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, values.data(), values.size() * sizeof(float));
    return;
  }
  for (const float value : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    const auto upper = static_cast<uint16_t>(bits >> 16);
    std::memcpy(to, &upper, sizeof(upper));
    to += sizeof(upper);
  }
}

// To the nearest, ties to even; NaN stays.
float NearestBF16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffff) > 0x7f800000) return value;
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Where element (row, column) of the weight goes.
std::byte* Place(const PieceTarget& target, int64_t row, int64_t column) {
  const int64_t element =
      (row - target.rows.begin) * target.columns.size() + column - target.columns.begin;
  return target.bytes.data() + element * DTypeSize(target.dtype);
}

}  // namespace

PieceReader::PieceReader(const Checkpoint& checkpoint, Progress progress)
    : checkpoint_(checkpoint), progress_(std::move(progress)) {}

absl::StatusOr<File*> PieceReader::Open(int index) {
  const auto found = files_.find(index);
  if (found != files_.end()) return &found->second;
  const CheckpointFile& info = checkpoint_.files()[index];
  ASSIGN_OR_RETURN(File file, File::Open(checkpoint_.folder() / info.name));
  if (file.size() != info.size) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", info.name, ": has ", file.size(),
                                            " bytes, had ", info.size,
                                            " when the checkpoint was opened; it changed "
                                            "meanwhile"));
  }
  if (files_.size() == kMostOpenFiles) files_.clear();
  return &files_.emplace(index, std::move(file)).first->second;
}

absl::Status PieceReader::ReadFile(int index, uint64_t offset, absl::Span<std::byte> bytes) {
  if (const auto& inlined = checkpoint_.files()[index].inlined) {
    std::memcpy(bytes.data(), inlined->data() + offset, bytes.size());
    bytes_read_ += bytes.size();
    return absl::OkStatus();
  }
  if (index == fetched_.file && offset >= fetched_.offset &&
      Within(offset - fetched_.offset, bytes.size(), fetched_.bytes.size())) {
    RETURN_IF_ERROR(progress_(bytes_read_));
    std::memcpy(bytes.data(), fetched_.bytes.data() + (offset - fetched_.offset), bytes.size());
    bytes_read_ += bytes.size();
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(File* const file, Open(index));
  while (!bytes.empty()) {
    RETURN_IF_ERROR(progress_(bytes_read_));
    const absl::Span<std::byte> part = bytes.subspan(0, kPartBytes);
    const uint64_t before = file->bytes_read();
    RETURN_IF_ERROR(file->ReadAt(offset, part));
    bytes_read_ += file->bytes_read() - before;
    offset += part.size();
    bytes.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

absl::Status PieceReader::Inflate(const SourcePiece& part) {
  std::vector<std::byte> record(part.record.bytes);
  RETURN_IF_ERROR(ReadFile(part.file, part.record.offset, absl::MakeSpan(record)));
  inflated_.resize(part.inflated_bytes);
  const RecordShape shape{part.codec, static_cast<size_t>(BlockOf(part.type).bytes)};
  return Decompress(shape, record, absl::MakeSpan(inflated_), checkpoint_.files()[part.file].name);
}

absl::Status PieceReader::Fetch(const SourcePiece& part, uint64_t offset,
                                absl::Span<std::byte> bytes) {
  if (part.codec == Codec::kNone) return ReadFile(part.file, offset, bytes);
  if (!Within(offset, bytes.size(), inflated_.size())) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", checkpoint_.files()[part.file].name,
                                            ": a compressed record is too short"));
  }
  std::memcpy(bytes.data(), inflated_.data() + offset, bytes.size());
  return absl::OkStatus();
}

absl::Status PieceReader::Read(const SourcePiece& piece, const PieceTarget& target) {
  const PieceReads reads = ReadsOf(piece, target.rows, target.columns);
  if (reads.count == 0) return absl::OkStatus();
  if (reads.part.codec != Codec::kNone) RETURN_IF_ERROR(Inflate(reads.part));
  const bool as_it_is = !reads.by_column && SameFormat(piece.type, target.dtype) &&
                        reads.part.column_stride == DTypeSize(target.dtype);
  const bool as_a_vector = reads.by_column && target.columns.size() == 1 &&
                           SameFormat(piece.type, target.dtype) &&
                           reads.part.row_stride == DTypeSize(target.dtype);
  return as_it_is || as_a_vector ? ReadDirect(reads, target) : ReadScattered(reads, target);
}

// Reads straight into the target, neighbouring reads as one where both sides have no gaps.
absl::Status PieceReader::ReadDirect(const PieceReads& reads, const PieceTarget& target) {
  const SourcePiece& part = reads.part;
  const bool whole_rows = part.columns.size() == target.columns.size();
  std::byte* const front = Place(target, part.rows.begin, part.columns.begin);
  if (reads.count == 1 || (whole_rows && reads.stride == reads.bytes)) {
    return Fetch(part, part.offset, {front, reads.count * reads.bytes});
  }
  const int64_t pitch = target.columns.size() * DTypeSize(target.dtype);
  for (uint64_t i = 0; i < reads.count; ++i) {
    const absl::Span<std::byte> row(front + static_cast<int64_t>(i) * pitch, reads.bytes);
    RETURN_IF_ERROR(Fetch(part, part.offset + i * reads.stride, row));
  }
  return absl::OkStatus();
}

absl::Status PieceReader::ReadScattered(const PieceReads& reads, const PieceTarget& target) {
  return ReadBatches(reads, [&](uint64_t first, uint64_t count) -> absl::Status {
    if (reads.part.type == StoredType::kMxfp4) RETURN_IF_ERROR(FetchScales(reads, first, count));
    if (reads.part.type == StoredType::kScaledFp8) RETURN_IF_ERROR(FetchTable(reads.part));
    Scatter(reads, first, count, target);
    return absl::OkStatus();
  });
}

absl::Status PieceReader::ReadCodes(const SourcePiece& piece, const CodedTarget& target) {
  const PieceReads reads = ReadsOf(piece, target.rows, target.columns);
  if (reads.count == 0) return absl::OkStatus();
  return ReadBatches(reads, [&](uint64_t first, uint64_t count) -> absl::Status {
    ScatterCodes(reads, first, count, target);
    return absl::OkStatus();
  });
}

// sink(first, count) with reads of these numbers in buffer_.
template <typename Sink>
absl::Status PieceReader::ReadBatches(const PieceReads& reads, Sink sink) {
  const bool gapless = reads.stride == reads.bytes;
  const uint64_t batch =
      gapless ? std::clamp<uint64_t>(kPartBytes / reads.bytes, 1, reads.count) : 1;
  for (uint64_t first = 0; first < reads.count; first += batch) {
    const uint64_t count = std::min(batch, reads.count - first);
    buffer_.resize(count * reads.bytes);
    RETURN_IF_ERROR(
        Fetch(reads.part, reads.part.offset + first * reads.stride, absl::MakeSpan(buffer_)));
    RETURN_IF_ERROR(sink(first, count));
  }
  return absl::OkStatus();
}

// The scales of the blocks of `count` reads.
absl::Status PieceReader::FetchScales(const PieceReads& reads, uint64_t first, uint64_t count) {
  constexpr uint64_t kBlockBytes = 16;
  const SourcePiece& part = reads.part;
  const uint64_t each = reads.bytes / kBlockBytes;
  scales_.resize(count * each);
  const bool gapless = reads.stride == reads.bytes;
  for (uint64_t i = 0; i < (gapless ? 1 : count); ++i) {
    const uint64_t block = part.offset + (first + i) * reads.stride - part.blocks_begin;
    RETURN_IF_ERROR(
        ReadFile(part.scales_file, part.scales_begin + block / kBlockBytes,
                 absl::MakeSpan(scales_).subspan(i * each, gapless ? count * each : each)));
  }
  return absl::OkStatus();
}

absl::Status PieceReader::FetchTable(const SourcePiece& part) {
  if (table_file_ == part.scales_file && table_begin_ == part.scales_begin) return absl::OkStatus();
  const StoredType type = part.scales.type;
  const size_t size = static_cast<size_t>(BlockOf(type).bytes);
  scales_.resize(static_cast<size_t>(part.scales.count()) * size);
  table_file_ = -1;
  const uint64_t before = bytes_read_;  // PieceReads::total() has the numbers alone
  RETURN_IF_ERROR(ReadFile(part.scales_file, part.scales_begin, absl::MakeSpan(scales_)));
  bytes_read_ = before;
  table_.clear();
  for (size_t i = 0; i < scales_.size(); i += size) {
    table_.push_back(Widen(type, scales_.data() + i));
  }
  table_file_ = part.scales_file;
  table_begin_ = part.scales_begin;
  return absl::OkStatus();
}

// The number at `offset` of the file times its scale, to the nearest of bf16.
float PieceReader::Scaled(const SourcePiece& part, uint64_t offset, std::byte number) const {
  const int64_t element = static_cast<int64_t>(offset - part.blocks_begin);
  const int64_t row = element / part.scales.matrix_columns / part.scales.rows;
  const int64_t column = element % part.scales.matrix_columns / part.scales.columns;
  return NearestBF16(DecodeE4M3(number) *
                     table_[static_cast<size_t>(row * part.scales.per_row() + column)]);
}

void PieceReader::ScatterCodes(const PieceReads& reads, uint64_t first, uint64_t count,
                               const CodedTarget& target) {
  const SourcePiece& part = reads.part;
  const StoredBlock block = BlockOf(part.type);
  const auto blocks = static_cast<int64_t>(reads.bytes) / block.bytes;
  const int64_t width = target.columns.size();
  const int64_t group = part.columns.begin / block.elements - target.columns.begin / block.elements;
  codes_.resize(static_cast<size_t>(blocks * block.elements));
  code_scales_.resize(static_cast<size_t>(blocks));
  values_.resize(static_cast<size_t>(blocks));
  for (uint64_t i = 0; i < count; ++i) {
    DecodeCodes(part.type, {buffer_.data() + i * reads.bytes, reads.bytes},
                {absl::MakeSpan(codes_), absl::MakeSpan(code_scales_), absl::MakeSpan(values_)});
    const int64_t row = part.rows.begin + static_cast<int64_t>(first + i) - target.rows.begin;
    std::copy_n(codes_.begin() + reads.skipped, part.columns.size(),
                target.codes.begin() + row * width + part.columns.begin - target.columns.begin);
    const int64_t place = row * target.groups + group;
    std::copy(code_scales_.begin(), code_scales_.end(), target.scales.begin() + place);
    std::copy(values_.begin(), values_.end(), target.minima.begin() + place);
  }
}

// Puts the elements of `count` reads, from number `first` on, into the target.
void PieceReader::Scatter(const PieceReads& reads, uint64_t first, uint64_t count,
                          const PieceTarget& target) {
  const SourcePiece& part = reads.part;
  const StoredBlock block = BlockOf(part.type);
  const bool same = SameFormat(part.type, target.dtype);
  const int64_t inner = reads.by_column ? part.rows.size() : part.columns.size();
  const int64_t inner_stride = reads.by_column ? part.row_stride : part.column_stride;
  for (uint64_t i = 0; i < count; ++i) {
    const std::byte* bytes = buffer_.data() + i * reads.bytes;
    const auto outer = static_cast<int64_t>(first + i);
    if (block.elements > 1) {
      values_.resize(reads.bytes / block.bytes * block.elements);
      if (part.type == StoredType::kMxfp4) {
        const uint64_t blocks = reads.bytes / block.bytes;
        DecodeMxfp4({bytes, reads.bytes}, {scales_.data() + i * blocks, blocks},
                    absl::MakeSpan(values_));
      } else {
        DecodeBlocks(part.type, {bytes, reads.bytes}, absl::MakeSpan(values_));
      }
      PutValues({values_.data() + reads.skipped, static_cast<size_t>(inner)}, target.dtype,
                Place(target, part.rows.begin + outer, part.columns.begin));
      continue;
    }
    for (int64_t j = 0; j < inner; ++j) {
      const int64_t row = part.rows.begin + (reads.by_column ? j : outer);
      const int64_t column = part.columns.begin + (reads.by_column ? outer : j);
      std::byte* const place = Place(target, row, column);
      const std::byte* const from = bytes + j * inner_stride;
      if (same) {
        std::memcpy(place, from, DTypeSize(target.dtype));
      } else if (part.type == StoredType::kScaledFp8) {
        const uint64_t at = part.offset + static_cast<uint64_t>(outer) * reads.stride +
                            static_cast<uint64_t>(j * inner_stride);
        const float value = Scaled(part, at, *from);
        PutValues({&value, 1}, target.dtype, place);
      } else {
        const float value = Widen(part.type, from);
        std::memcpy(place, &value, sizeof(value));
      }
    }
  }
}

}  // namespace tessera::shard_loader
