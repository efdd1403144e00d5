// The mixture of a device's backend (worker/backend/mixture.h): its room, and the order of its
// kernels.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CUDA_MIXTURE_H_
#define TESSERA_WORKER_BACKEND_CUDA_CUDA_MIXTURE_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "shard_loader/plan/device_experts.h"
#include "shard_loader/plan/device_scratch.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/scratch.h"
#include "worker/backend/mixture.h"

namespace tessera::worker::cuda {

class CudaMixture final : public Mixture {
 public:
  using Product = std::function<void(const ProductArgs&, const Grouping&)>;

  // `memory`, `constants` and `moves` are borrowed. `product` launches a product of the backend's.
  CudaMixture(DeviceMemory& memory, Constants* constants, Order order, Product product,
              int64_t* moves)
      : memory_(memory),
        constants_(constants),
        order_(order),
        product_(std::move(product)),
        choices_(memory, "experts of the rows", moves),
        room_(memory, "the room of experts", moves) {}

  absl::Status Reserve(const shard_loader::DeviceScratch& scratch);

  void Route(const RouteArgs& args) override;
  void Run(const ExpertsArgs& args) override;
  void AddBiases(const shard_loader::MoeSpec& moe, const float* bias, int64_t num_rows,
                 int64_t size, float* output) override;
  void AddGated(const float* gates, const float* input, int64_t num_rows, int64_t size,
                float* output) override;

 private:
  // The pairs of a row and an expert, in room_.
  struct Pairs {
    int64_t count = 0;  // at most
    int32_t* pair_of = nullptr;
    int32_t* rows = nullptr;
    float* input = nullptr;
    float* gate = nullptr;
    float* up = nullptr;
    float* parts = nullptr;
    Grouping groups;
  };
  absl::Status TryRun(const ExpertsArgs& args);
  Pairs Sort(const ExpertsArgs& args, const shard_loader::DeviceExpertRoom& parts, std::byte* room);
  void MultiplyPairs(const ExpertsArgs& args, const Pairs& pairs);
  void Multiply(const Pairs& pairs, const float* input, const ExpertMatrices& matrices,
                float* output);
  void Check(int error) { memory_.Check(error, "a kernel"); }

  DeviceMemory& memory_;
  Constants* const constants_;
  const Order order_;
  const Product product_;
  Scratch choices_;
  Scratch room_;
  Choice* chosen_ = nullptr;  // [rows of the step, per_token], in choices_
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CUDA_MIXTURE_H_
