// A Llama of any size in several formats, written by the test: what is in it does not matter, where
// it lies does.
#ifndef TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_WRITERS_H_
#define TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_WRITERS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tessera::shard_loader {

struct ModelSize {
  int64_t hidden, columns, layers, heads, kv_heads, vocab;
};

struct ModelTensor {
  std::string name;  // Hugging Face's
  std::vector<int64_t> shape;
  int64_t elements() const { return shape[0] * (shape.size() > 1 ? shape[1] : 1); }
};

std::vector<ModelTensor> TensorsOf(const ModelSize& size);
void WriteConfig(const ModelSize& size, const std::filesystem::path& folder);

// All numbers are 16-bit floats, but where the name says otherwise.
void WriteSafetensorsModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteNpzModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteTorchModel(const ModelSize& size, const std::filesystem::path& folder);
// Two files each, as two ranks wrote them.
void WriteMetaModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteMegatronModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteDeepSpeedModel(const ModelSize& size, const std::filesystem::path& folder);
// In 32 bits: ZeRO stage 3's two partitions, and the universal layout.
void WriteZero3Model(const ModelSize& size, const std::filesystem::path& folder);
void WriteUniversalModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteFlaxModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteGgufModel(const ModelSize& size, const std::filesystem::path& folder);
void WriteGgufQ8Model(const ModelSize& size, const std::filesystem::path& folder);
// In chunks of half of the rows, not compressed.
void WriteOrbaxModel(const ModelSize& size, const std::filesystem::path& folder);

}  // namespace tessera::shard_loader

#endif  // TESSERA_TESTS_UNIT_SHARD_LOADER_SLICES_WRITERS_H_
