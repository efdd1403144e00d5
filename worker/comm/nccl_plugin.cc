// Of libtessera_cuda.so: NCCL, opened by name through a table of the types of its header.
#include "worker/comm/nccl_plugin.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "worker/comm/nccl_api.h"

namespace tessera::worker {
namespace {

// Non-blocking communicators that can be aborted while they start.
constexpr int kLeastVersion = 21800;

struct NcclTable {
  decltype(&ncclGetVersion) get_version = nullptr;
  decltype(&ncclGetErrorString) get_error_string = nullptr;
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) comm_init = nullptr;
  decltype(&ncclCommGetAsyncError) comm_async_error = nullptr;
  decltype(&ncclCommFinalize) comm_finalize = nullptr;
  decltype(&ncclCommDestroy) comm_destroy = nullptr;
  decltype(&ncclCommAbort) comm_abort = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) recv = nullptr;
};

// "" where the table is filled, else what is missing.
std::string Open(NcclTable* table) {
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    return std::string("NCCL is missing (") + dlerror() + "): install libnccl2";
  }
  std::string missing;
  auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
    if (*function == nullptr && missing.empty()) missing = name;
  };
  find("ncclGetVersion", &table->get_version);
  find("ncclGetErrorString", &table->get_error_string);
  find("ncclGetUniqueId", &table->get_unique_id);
  find("ncclCommInitRankConfig", &table->comm_init);
  find("ncclCommGetAsyncError", &table->comm_async_error);
  find("ncclCommFinalize", &table->comm_finalize);
  find("ncclCommDestroy", &table->comm_destroy);
  find("ncclCommAbort", &table->comm_abort);
  find("ncclGroupStart", &table->group_start);
  find("ncclGroupEnd", &table->group_end);
  find("ncclSend", &table->send);
  find("ncclRecv", &table->recv);
  int version = 0;
  if (missing.empty()) table->get_version(&version);
  if (missing.empty() && version >= kLeastVersion) return "";
  return "libnccl.so.2 is too old (" + (missing.empty() ? std::to_string(version) : missing) +
         "); version 2.18 or newer is needed";
}

class NcclLibrary final : public NcclApi {
 public:
  NcclLibrary(const NcclTable& table, cudaStream_t stream) : table_(table), stream_(stream) {}

  int NewId(NcclId* id) override {
    ncclUniqueId unique;
    static_assert(sizeof(unique) == sizeof(*id));
    const ncclResult_t result = table_.get_unique_id(&unique);
    std::memcpy(id->data(), &unique, sizeof(unique));
    return result;
  }
  int Init(const NcclId& id, int ranks, int rank, void** comm) override {
    ncclUniqueId unique;
    std::memcpy(&unique, id.data(), sizeof(unique));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return table_.comm_init(reinterpret_cast<ncclComm_t*>(comm), ranks, unique, rank, &config);
  }
  int State(void* comm, int* state) override {
    ncclResult_t now = ncclSuccess;
    const ncclResult_t result = table_.comm_async_error(Comm(comm), &now);
    *state = now;
    return result;
  }
  // Finalize is under way when this returns; destroying waits for no peer that has left in order.
  int Destroy(void* comm) override {
    const ncclResult_t result = table_.comm_finalize(Comm(comm));
    if (result != ncclSuccess && result != ncclInProgress) return table_.comm_abort(Comm(comm));
    return table_.comm_destroy(Comm(comm));
  }
  int Abort(void* comm) override { return table_.comm_abort(Comm(comm)); }
  int GroupStart() override { return table_.group_start(); }
  int GroupEnd() override { return table_.group_end(); }
  int Send(void* comm, const std::byte* from, size_t bytes, int peer) override {
    return table_.send(from, bytes, ncclUint8, peer, Comm(comm), stream_);
  }
  int Recv(void* comm, std::byte* to, size_t bytes, int peer) override {
    return table_.recv(to, bytes, ncclUint8, peer, Comm(comm), stream_);
  }
  int Copy(const std::byte* from, size_t bytes, std::byte* to) override {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_);
  }
  Stream Query(std::string* error) override {
    const cudaError_t state = cudaStreamQuery(stream_);
    if (state == cudaSuccess) return Stream::kDone;
    if (state == cudaErrorNotReady) return Stream::kBusy;
    *error = cudaGetErrorString(state);
    return Stream::kFailed;
  }
  std::string ErrorText(int result) override {
    return table_.get_error_string(static_cast<ncclResult_t>(result));
  }
  std::string Version() override {
    int version = 0;
    table_.get_version(&version);
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }

 private:
  static ncclComm_t Comm(void* comm) { return static_cast<ncclComm_t>(comm); }

  const NcclTable table_;
  const cudaStream_t stream_;
};

}  // namespace
}  // namespace tessera::worker

extern "C" __attribute__((visibility("default"))) tessera::worker::NcclApi* tessera_nccl_plugin(
    uint32_t version, void* stream, char* error, size_t error_bytes) {
  using namespace tessera::worker;
  if (version != TESSERA_NCCL_PLUGIN_VERSION) {
    std::snprintf(error, error_bytes, "the plugin is of another version; take both from one build");
    return nullptr;
  }
  static NcclTable table;
  static const std::string problem = Open(&table);
  if (problem.empty()) return new NcclLibrary(table, static_cast<cudaStream_t>(stream));
  std::snprintf(error, error_bytes, "%s", problem.c_str());
  return nullptr;
}
