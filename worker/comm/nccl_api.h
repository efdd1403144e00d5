// What NcclCommunicator needs of NCCL and of the stream that it is used on: the library in a CUDA
// plugin, or a fake in tests. No call waits for a peer.
#ifndef TESSERA_WORKER_COMM_NCCL_API_H_
#define TESSERA_WORKER_COMM_NCCL_API_H_

#include <array>
#include <cstddef>
#include <string>

namespace tessera::worker {

// Results are ncclResult_t: NCCL's numbers, of which two have a meaning here.
inline constexpr int kNcclSuccess = 0;
inline constexpr int kNcclInProgress = 7;

using NcclId = std::array<char, 128>;  // ncclUniqueId

// Used by one thread at a time.
class NcclApi {
 public:
  enum class Stream { kDone, kBusy, kFailed };

  virtual ~NcclApi() = default;

  virtual int NewId(NcclId* id) = 0;
  // A non-blocking communicator: kNcclInProgress is as good as success, State tells what comes of
  // it.
  virtual int Init(const NcclId& id, int ranks, int rank, void** comm) = 0;
  virtual int State(void* comm, int* state) = 0;
  // Ends a communicator: in order, when all ranks do; or at once, with what is under way.
  virtual int Destroy(void* comm) = 0;
  virtual int Abort(void* comm) = 0;

  virtual int GroupStart() = 0;
  virtual int GroupEnd() = 0;  // likewise kNcclInProgress
  virtual int Send(void* comm, const std::byte* from, size_t bytes, int peer) = 0;
  virtual int Recv(void* comm, std::byte* to, size_t bytes, int peer) = 0;

  // A copy on the device, in order with the exchanges: a cudaError_t.
  virtual int Copy(const std::byte* from, size_t bytes, std::byte* to) = 0;
  // Whether everything asked for so far is done; `error`: of kFailed.
  virtual Stream Query(std::string* error) = 0;

  virtual std::string ErrorText(int result) = 0;
  virtual std::string Version() = 0;  // "2.28.3"
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_NCCL_API_H_
