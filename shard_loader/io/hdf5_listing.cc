#include "shard_loader/io/hdf5_listing.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr size_t kMostDatasets = 1 << 18;

// An identifier of the library, given back by `close`.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  bool ok() const { return id_ >= 0; }
  hid_t get() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

struct Standard {
  hid_t type;
  StoredType stored;
};

// The bits of an exponent and of a mantissa, which tell the floating-point types apart.
StoredType FloatType(hid_t type) {
  size_t sign = 0;
  size_t exponent = 0;
  size_t exponent_bits = 0;
  size_t mantissa = 0;
  size_t mantissa_bits = 0;
  const bool known =
      H5Tget_order(type) == H5T_ORDER_LE && H5Tget_offset(type) == 0 &&
      H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0;
  const size_t bits = 8 * H5Tget_size(type);
  if (!known || sign + 1 != bits || mantissa != 0 || exponent != mantissa_bits ||
      mantissa_bits + exponent_bits + 1 != bits ||
      H5Tget_ebias(type) != (size_t{1} << (exponent_bits - 1)) - 1) {
    return StoredType::kOther;
  }
  if (bits == 64 && exponent_bits == 11) return StoredType::kF64;
  if (bits == 32 && exponent_bits == 8) return StoredType::kF32;
  if (bits == 16 && exponent_bits == 5) return StoredType::kF16;
  if (bits == 16 && exponent_bits == 8) return StoredType::kBF16;
  return StoredType::kOther;
}

StoredType TypeOf(hid_t type) {
  if (H5Tget_class(type) == H5T_FLOAT) return FloatType(type);
  const std::array<Standard, 8> integers = {{{H5T_STD_I8LE, StoredType::kI8},
                                             {H5T_STD_U8LE, StoredType::kU8},
                                             {H5T_STD_I16LE, StoredType::kI16},
                                             {H5T_STD_U16LE, StoredType::kU16},
                                             {H5T_STD_I32LE, StoredType::kI32},
                                             {H5T_STD_U32LE, StoredType::kU32},
                                             {H5T_STD_I64LE, StoredType::kI64},
                                             {H5T_STD_U64LE, StoredType::kU64}}};
  for (const Standard& known : integers) {
    if (H5Tequal(type, known.type) > 0) return known.stored;
  }
  return StoredType::kOther;
}

// Lists one file; the library calls it back for every object.
class Lister {
 public:
  Lister(hid_t file, std::string name, uint64_t size)
      : file_(file), name_(std::move(name)), size_(size) {}

  absl::StatusOr<std::vector<Hdf5Dataset>> List() {
    const herr_t visited =
        H5Ovisit2(file_, H5_INDEX_NAME, H5_ITER_INC, Visit, this, H5O_INFO_BASIC);
    RETURN_IF_ERROR(status_);
    if (visited < 0) return Corrupt("", "its groups cannot be read");
    return std::move(found_);
  }

 private:
  static herr_t Visit(hid_t, const char* path, const H5O_info_t* info, void* self) {
    auto& lister = *static_cast<Lister*>(self);
    if (info->type != H5O_TYPE_DATASET) return 0;
    lister.status_ = lister.Add(path);
    return lister.status_.ok() ? 0 : 1;  // 1: ends the visit
  }

  absl::Status Corrupt(std::string_view path, std::string_view what) const {
    return absl::DataLossError(absl::StrCat("shard_loader: ", name_, ": dataset '", Excerpt(path),
                                            "': ", std::string(what),
                                            "; the file is truncated or corrupt"));
  }
  absl::Status Refuse(std::string_view path, std::string_view what) const {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", name_, ": dataset '",
                                                 Excerpt(path), "' ", std::string(what)));
  }

  absl::Status Add(const char* path) {
    if (found_.size() == kMostDatasets) return Corrupt(path, "there are too many");
    Hdf5Dataset dataset{.path = path};
    const Handle set(H5Dopen2(file_, path, H5P_DEFAULT), H5Dclose);
    if (!set.ok()) return Corrupt(path, "it cannot be opened");
    const Handle type(H5Dget_type(set.get()), H5Tclose);
    const Handle space(H5Dget_space(set.get()), H5Sclose);
    const Handle properties(H5Dget_create_plist(set.get()), H5Pclose);
    if (!type.ok() || !space.ok() || !properties.ok()) return Corrupt(path, "it has no type");
    dataset.type = TypeOf(type.get());
    RETURN_IF_ERROR(TakeShape(space.get(), &dataset));
    if (dataset.type != StoredType::kOther) {
      RETURN_IF_ERROR(TakePlaces(set.get(), space.get(), properties.get(), &dataset));
    }
    found_.push_back(std::move(dataset));
    return absl::OkStatus();
  }

  absl::Status TakeShape(hid_t space, Hdf5Dataset* dataset) const {
    std::array<hsize_t, H5S_MAX_RANK> sizes{};
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank < 0 || rank > static_cast<int>(kMaxDimensions) ||
        H5Sget_simple_extent_dims(space, sizes.data(), nullptr) != rank) {
      return Corrupt(dataset->path, "it has no shape");
    }
    for (int i = 0; i < rank; ++i) dataset->shape.push_back(static_cast<int64_t>(sizes[i]));
    int64_t elements = 0;
    if (CountElements(dataset->shape, int64_t{1} << 46, &elements)) return absl::OkStatus();
    return Corrupt(dataset->path, "its shape is impossible");
  }

  absl::Status TakePlaces(hid_t set, hid_t space, hid_t properties, Hdf5Dataset* dataset) const {
    dataset->chunk_shape = dataset->shape;
    switch (H5Pget_layout(properties)) {
      case H5D_CONTIGUOUS:
        if (H5Pget_external_count(properties) != 0) {
          return Refuse(dataset->path, "has its data in another file, which is not supported");
        }
        return TakeWhole(set, dataset);
      case H5D_CHUNKED:
        RETURN_IF_ERROR(TakeFilters(properties, dataset));
        return TakeChunks(set, space, properties, dataset);
      case H5D_COMPACT:
        return Refuse(dataset->path, "has its data in the headers, which is not supported");
      default:
        return Refuse(dataset->path, "is put together of other datasets, which is not supported");
    }
  }

  absl::Status TakeWhole(hid_t set, Hdf5Dataset* dataset) const {
    int64_t elements = 0;
    CountElements(dataset->shape, int64_t{1} << 46, &elements);
    const auto bytes = static_cast<uint64_t>(elements * BlockOf(dataset->type).bytes);
    const haddr_t offset = H5Dget_offset(set);
    if (offset == HADDR_UNDEF) return absl::OkStatus();
    if (!Within(offset, bytes, size_)) return Corrupt(dataset->path, "it lies outside of the file");
    dataset->chunks.push_back(
        {std::vector<int64_t>(dataset->shape.size(), 0), ByteRange{offset, bytes}});
    return absl::OkStatus();
  }

  absl::Status TakeFilters(hid_t properties, Hdf5Dataset* dataset) const {
    bool shuffled = false;
    const int count = H5Pget_nfilters(properties);
    for (int i = 0; i < count; ++i) {
      unsigned flags = 0;
      size_t values = 0;
      unsigned configuration = 0;
      const H5Z_filter_t filter = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags,
                                                 &values, nullptr, 0, nullptr, &configuration);
      const bool is_last = i + 1 == count;
      if (filter == H5Z_FILTER_SHUFFLE && !is_last && i == 0) {
        shuffled = true;
      } else if (filter == H5Z_FILTER_DEFLATE && is_last) {
        dataset->codec = shuffled ? Codec::kShuffledZlib : Codec::kZlib;
      } else {
        return Refuse(dataset->path,
                      absl::StrCat("went through filter ", filter,
                                   "; supported are deflate, and shuffle before it"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status TakeChunks(hid_t set, hid_t space, hid_t properties, Hdf5Dataset* dataset) const {
    const size_t rank = dataset->shape.size();
    std::array<hsize_t, H5S_MAX_RANK> sizes{};
    if (H5Pget_chunk(properties, static_cast<int>(rank), sizes.data()) != static_cast<int>(rank)) {
      return Corrupt(dataset->path, "its chunks have no shape");
    }
    dataset->chunk_shape.assign(sizes.begin(), sizes.begin() + static_cast<ptrdiff_t>(rank));
    hsize_t count = 0;
    if (H5Dget_num_chunks(set, space, &count) < 0 || count > kMostDatasets) {
      return Corrupt(dataset->path, "its chunks cannot be listed");
    }
    for (hsize_t i = 0; i < count; ++i) {
      std::array<hsize_t, H5S_MAX_RANK> origin{};
      unsigned skipped_filters = 0;
      haddr_t offset = HADDR_UNDEF;
      hsize_t bytes = 0;
      if (H5Dget_chunk_info(set, space, i, origin.data(), &skipped_filters, &offset, &bytes) < 0 ||
          offset == HADDR_UNDEF || !Within(offset, bytes, size_)) {
        return Corrupt(dataset->path, "a chunk lies outside of the file");
      }
      if (skipped_filters != 0) {
        return Refuse(dataset->path, "has chunks that skip a filter, which is not supported");
      }
      dataset->chunks.push_back(
          {std::vector<int64_t>(origin.begin(), origin.begin() + static_cast<ptrdiff_t>(rank)),
           ByteRange{offset, bytes}});
    }
    return absl::OkStatus();
  }

  const hid_t file_;
  const std::string name_;
  const uint64_t size_;
  std::vector<Hdf5Dataset> found_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<Hdf5Dataset>> ListHdf5(const std::filesystem::path& path,
                                                  const std::string& name, uint64_t size) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // no stack of errors on stderr
  const Handle opened(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!opened.ok()) {
    return absl::DataLossError(
        absl::StrCat("shard_loader: ", name, ": no HDF5 file, truncated or corrupt"));
  }
  return Lister(opened.get(), name, size).List();
}

}  // namespace tessera::shard_loader
