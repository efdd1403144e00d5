// A backend with one order changed, for tests of what must notice it.
#ifndef TESSERA_WORKER_BACKEND_REORDERED_BACKEND_H_
#define TESSERA_WORKER_BACKEND_REORDERED_BACKEND_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/backend/backend.h"

namespace tessera::worker {

// Does what `inner` does, but for the product that follows an attention: in rows from position
// `from` on, its lanes are added one after the other and not along their tree. Only a product with
// a single root is changed. Thread-compatible.
class ReorderedBackend final : public Backend {
 public:
  ReorderedBackend(std::unique_ptr<Backend> inner, int32_t from)
      : inner_(std::move(inner)), from_(from) {}

  Memory& memory() override { return inner_->memory(); }
  absl::Status Reserve(const shard_loader::DeviceScratch& scratch) override {
    return inner_->Reserve(scratch);
  }
  Drawer* drawer() override { return inner_->drawer(); }
  Mixture* mixture() override { return inner_->mixture(); }
  void EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count,
                 float* output) override {
    inner_->EmbedRows(table, ids, count, output);
  }
  void Norm(const NormArgs& args) override { inner_->Norm(args); }
  void SquareSums(const float* input, int64_t num_rows, int64_t size, float* output) override {
    inner_->SquareSums(input, num_rows, size, output);
  }
  void Product(const ProductArgs& args) override;
  void RopeAndStore(const RowTable& rows, const RopeArgs& args, const KvLayer& cache) override {
    inner_->RopeAndStore(rows, args, cache);
  }
  void Attend(const RowTable& rows, const AttentionArgs& args, const KvLayer& cache) override;
  void Activate(const ActivationArgs& args) override { inner_->Activate(args); }
  void AddToResidual(const ResidualArgs& args) override { inner_->AddToResidual(args); }
  void AddWeightedRows(const WeightedRowsArgs& args) override { inner_->AddWeightedRows(args); }
  void ScaleAndCap(float scale, float cap, int64_t size, float* data) override {
    inner_->ScaleAndCap(scale, cap, size, data);
  }
  void CopyRows(const CopyRowsArgs& args) override { inner_->CopyRows(args); }
  absl::Status Repeat(const RowTable& rows, absl::FunctionRef<absl::Status()> operations) override {
    return inner_->Repeat(rows, operations);
  }
  void AddTree(const AddTreeArgs& args) override { inner_->AddTree(args); }
  void SoftmaxBlocks(const SoftmaxBlocksArgs& args) override { inner_->SoftmaxBlocks(args); }

 private:
  void AddInTurn(const ProductArgs& args, int64_t row);

  const std::unique_ptr<Backend> inner_;
  const int32_t from_;
  std::vector<int32_t> positions_;  // of the attention that came last; empty once it is used
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_REORDERED_BACKEND_H_
