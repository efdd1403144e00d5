#include "shard_loader/format/tensor_index.h"

#include <algorithm>
#include <utility>

namespace tessera::shard_loader {

bool TensorIndex::Add(IndexedTensor tensor) {
  if (!by_name_.try_emplace(tensor.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(tensor));
  return true;
}

const IndexedTensor* TensorIndex::Find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

std::vector<int64_t> RowMajorStrides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i) {
    strides[i - 2] = strides[i - 1] * std::max<int64_t>(shape[i - 1], 1);
  }
  return strides;
}

bool CountElements(const std::vector<int64_t>& shape, int64_t most, int64_t* count) {
  int64_t product = 1;  // of the sizes that are not 0, so that strides cannot overflow either
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return false;
    if (size == 0) {
      empty = true;
      continue;
    }
    if (product > most / size) return false;
    product *= size;
  }
  *count = empty ? 0 : product;
  return true;
}

}  // namespace tessera::shard_loader
