#include "tests/unit/shard_loader_slices/torch_archive.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/unit/shard_loader_format/zip_builder.h"

namespace tessera::shard_loader {

void TorchArchive::Text(const std::string& text) {
  pickle_ += 'X';
  Put<uint32_t>(&pickle_, static_cast<uint32_t>(text.size()));
  pickle_ += text;
}

void TorchArchive::Number(int64_t number) {
  pickle_ += 'J';
  Put<int32_t>(&pickle_, static_cast<int32_t>(number));
}

void TorchArchive::Tuple(const std::vector<int64_t>& numbers) {
  pickle_ += '(';
  for (const int64_t number : numbers) Number(number);
  pickle_ += 't';
}

// torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()).
void TorchArchive::Tensor(const std::vector<int64_t>& shape, bool wide) {
  const int64_t columns = shape.size() > 1 ? shape[1] : 1;
  const int64_t elements = shape[0] * columns;
  const std::string key = absl::StrCat(records_.size());
  records_.emplace_back("archive/data/" + key,
                        std::string(static_cast<size_t>(elements) * (wide ? 4 : 2), '1'));
  pickle_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
  Text("storage");
  pickle_ += wide ? "ctorch\nFloatStorage\n" : "ctorch\nHalfStorage\n";
  Text(key);
  Text("cpu");
  Number(elements);
  pickle_ += "tQ";
  Number(0);
  Tuple(shape);
  Tuple(shape.size() > 1 ? std::vector<int64_t>{columns, 1} : std::vector<int64_t>{1});
  pickle_ +=
      "\x89"
      "ccollections\nOrderedDict\n)RtR";
}

void TorchArchive::Write(const std::filesystem::path& path) const {
  std::vector<std::pair<std::string, std::string>> records = {{"archive/data.pkl", pickle_ + "."}};
  records.insert(records.end(), records_.begin(), records_.end());
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << MakeZip(records);
}

}  // namespace tessera::shard_loader
