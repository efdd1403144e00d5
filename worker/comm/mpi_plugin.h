// The C interface between the worker and libtessera_mpi.so, the only file that is linked with an
// MPI library. Plain C types; no exception and no memory passes from one side to the other.
#ifndef TESSERA_WORKER_COMM_MPI_PLUGIN_H_
#define TESSERA_WORKER_COMM_MPI_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

// Goes up with every change of the table or of what its functions mean.
#define TESSERA_MPI_PLUGIN_VERSION 1
// The only symbol of the plugin: const TesseraMpiPlugin* tessera_mpi_plugin(void).
#define TESSERA_MPI_PLUGIN_ENTRY "tessera_mpi_plugin"

extern "C" {

// A rank's ends of byte pipes to all others; called by one thread at a time. No function waits for
// a peer, and none calls back.
typedef struct TesseraMpiPlugin {
  uint32_t version;  // TESSERA_MPI_PLUGIN_VERSION
  uint32_t bytes;    // of this table

  // Joining goes in two: `start` begins it (rank of `ranks`, `streams` pipes per pair of ranks),
  // `join` tries to end it: 1 joined, 0 not yet, -1 failed. One group at a time; a process may
  // start again after leave. `start` returns 0, or -1 with a text in `error`.
  int (*start)(int rank, int ranks, int streams, char* error, size_t error_bytes);
  int (*join)(char* error, size_t error_bytes);
  // The bytes that were taken or filled, 0 where the pipe is full or empty, -1 where MPI failed.
  int64_t (*try_write)(int peer, int stream, const void* bytes, size_t count);
  int64_t (*try_read)(int peer, int stream, void* bytes, size_t count);
  // Ends the group; 1: its last bytes may still be on their way, call again. `broken`: the group
  // failed, so that nothing is waited for and the world ends with this process.
  int (*leave)(int broken);
} TesseraMpiPlugin;

typedef const TesseraMpiPlugin* (*TesseraMpiPluginEntry)(void);

}  // extern "C"

#endif  // TESSERA_WORKER_COMM_MPI_PLUGIN_H_
