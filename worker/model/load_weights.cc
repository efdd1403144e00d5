#include "worker/model/load_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

// Read and packed at a time by a thread: still in its cache when it is packed.
constexpr uint64_t kPartBytes = 1 << 20;

// Goes up with every change of the packed layout: an image may be older than the program.
constexpr int kLayoutVersion = 3;

ImageKey KeyOf(const shard_loader::Checkpoint& checkpoint, const shard_loader::RankPlan& plan,
               const shard_loader::WeightFormat& format) {
  const shard_loader::Layout& layout = plan.layout;
  return {.id = absl::StrCat("weights ", checkpoint.weights_version(), " written ",
                             checkpoint.files_stamp(), ", rank ", plan.rank, " of tp ", layout.tp,
                             " pp ", layout.pp, " lanes ", layout.lanes, ", ",
                             shard_loader::WeightFormatName(format), ", layout ", kLayoutVersion),
          .bytes = shard_loader::MakePackedLayout(checkpoint.spec(), plan, format).bytes};
}

}  // namespace

absl::StatusOr<LoadedWeights> LoadWeights(const shard_loader::Checkpoint& checkpoint,
                                          const shard_loader::RankPlan& plan,
                                          const shard_loader::WeightFormat& format,
                                          WeightImages& images,
                                          const shard_loader::LoadOptions& options,
                                          Memory& memory) {
  const ImageKey key = KeyOf(checkpoint, plan, format);
  LoadedWeights loaded;
  ASSIGN_OR_RETURN(Buffer image, images.Find(key));
  if (image.size() == 0) {
    ASSIGN_OR_RETURN(image, images.Make(key));
    ASSIGN_OR_RETURN(WeightsBuilder builder,
                     WeightsBuilder::Create(checkpoint.spec(), plan, format, std::move(image)));
    auto pack = [&](const shard_loader::HostTensor& tensor) { return builder.Add(tensor); };
    shard_loader::LoadOptions in_parts = options;
    in_parts.part_bytes = kPartBytes;
    in_parts.keep_codes = [&](shard_loader::TensorId id, shard_loader::StoredType blocks) {
      return shard_loader::HoldsBlocks(shard_loader::FormatOfRole(format, id.role), blocks);
    };
    ASSIGN_OR_RETURN(const shard_loader::LoadStats stats,
                     shard_loader::LoadShard(checkpoint, plan, pack, in_parts));
    loaded.bytes_read = stats.bytes_read;
    ASSIGN_OR_RETURN(image, builder.Finish());
    ASSIGN_OR_RETURN(image, images.Keep(key, std::move(image)));
  }
  if (!memory.on_host()) {
    ASSIGN_OR_RETURN(Buffer copy, memory.Allocate(image.size(), "the weights"));
    memory.CopyIn(image.data(), image.size(), copy.data());
    RETURN_IF_ERROR(memory.Finish());
    image = std::move(copy);
  }
  ASSIGN_OR_RETURN(loaded.weights,
                   Weights::Create(checkpoint.spec(), plan, format, std::move(image)));
  return loaded;
}

}  // namespace tessera::worker
