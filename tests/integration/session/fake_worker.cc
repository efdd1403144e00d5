#include "tests/integration/session/fake_worker.h"

#include <utility>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "absl/base/thread_annotations.h"
#include "proto/rpc/version.h"
#include "shard_loader/mutex.h"

namespace tessera::tests {
namespace {

namespace v1 = internal::v1;

class FakeRank : public worker::Rank {
 public:
  explicit FakeRank(FakeBehaviour behaviour) : behaviour_(behaviour) {}

  v1::Description Describe() override {
    v1::Description description;
    description.set_host("fake");
    description.set_memory_bytes(uint64_t{1} << 32);
    v1::KernelSet* kernels = description.add_kernels();
    kernels->set_name("fake");
    kernels->set_numerics("fake");
    description.add_comms("gloo");
    description.set_threads(1);
    return description;
  }

  absl::StatusOr<v1::Loaded> Load(const v1::Load& load,
                                  const worker::LoadProgressFunction& progress) override {
    if (behaviour_ == FakeBehaviour::kForgets) return absl::DataLossError("the weights are torn");
    sampling_ = load.rank() == load.tp() * (load.pp() - 1);
    progress(1, 1);
    return v1::Loaded();
  }

  absl::Status Connect(const v1::Connect&, worker::KeyValueStore*) override {
    return absl::OkStatus();
  }

  bool Open() const override { return false; }
  absl::StatusOr<std::vector<v1::StepResult>> Settle() override {
    return std::vector<v1::StepResult>();
  }

  absl::StatusOr<std::vector<v1::StepResult>> Run(const v1::Step& step) override {
    // The group's own first two steps are answered well by every fake.
    bool bad = ++steps_ > 2;
    if (bad && behaviour_ == FakeBehaviour::kHangs) return WaitForAbort();
    v1::StepResult result;
    result.set_step(step.step());
    result.set_ids_hash(bad && behaviour_ == FakeBehaviour::kDiverges ? 666 : step.step());
    for (const v1::SequenceStep& entry : step.entries()) {
      if (!sampling_) break;
      v1::SequenceResult* answer = result.add_results();
      answer->set_sequence(entry.sequence());
      answer->add_tokens()->set_id(7);
    }
    return std::vector<v1::StepResult>{result};
  }

  uint64_t Progress() const override { return 0; }

  void Abort(absl::Status why) override {
    MutexLock lock(mutex_);
    aborted_ = std::move(why);
    changed_.NotifyAll();
  }

 private:
  absl::Status WaitForAbort() {
    MutexLock lock(mutex_);
    while (aborted_.ok()) changed_.Wait(mutex_);
    return aborted_;
  }

  const FakeBehaviour behaviour_;
  bool sampling_ = false;
  int steps_ = 0;
  Mutex mutex_;
  CondVar changed_;
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

worker::WorkerServiceOptions MakeOptions(FakeBehaviour behaviour) {
  worker::WorkerServiceOptions options;
  options.session.secret = "a secret";
  options.session.version = std::string(rpc::Version());
  if (behaviour == FakeBehaviour::kOtherVersion) options.session.version += "-other";
  options.make_rank = [behaviour] { return std::make_unique<FakeRank>(behaviour); };
  return options;
}

}  // namespace

FakeWorker::FakeWorker(const std::filesystem::path& folder, const std::string& name,
                       FakeBehaviour behaviour)
    : address_("unix:" + (folder / name).string()), service_(MakeOptions(behaviour)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
}

FakeWorker::~FakeWorker() {
  service_.Shutdown();
  server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace tessera::tests
