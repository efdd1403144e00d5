// tessera-worker on its own: what it says of itself, and how it refuses to start.
#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/stat.h>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

TEST_CASE("the self check lets every pair of ranks exchange data over every communicator") {
  Process worker(Program("tessera-worker"), {"--self-check", "--pairs", "3"});
  REQUIRE(worker.WaitForExit(std::chrono::seconds(60)) == 0);
  INFO(worker.output());
  nlohmann::json report = nlohmann::json::parse(worker.output());
  size_t comms = report["comms"].size();
  CHECK(comms >= 1);
  CHECK(report["pairs"].size() == 3 * comms);
  for (const auto& pair : report["pairs"]) CHECK(pair["ok"] == true);
}

TEST_CASE("a worker on TCP does not start without a secret") {
  Process worker(Program("tessera-worker"), {"--listen", "127.0.0.1:0"});
  CHECK(worker.WaitForExit() == 1);
  CHECK(worker.output().find("--secret-file") != std::string::npos);
}

TEST_CASE("a worker that is to be a rank of MPI does not start without mpirun") {
  Process worker(Program("tessera-worker"), {"--comm", "mpi", "--listen", "unix:/tmp/never-%r"});
  CHECK(worker.WaitForExit() == 1);
  CHECK(worker.output().find("mpirun") != std::string::npos);
}

TEST_CASE("a worker refuses flags that it does not know, and an address that is none") {
  Process unknown(Program("tessera-worker"), {"--no-such-flag"});
  CHECK(unknown.WaitForExit() == 2);
  Process nowhere(Program("tessera-worker"), {"--listen", "nowhere"});
  CHECK(nowhere.WaitForExit() == 2);
}

TEST_CASE("a worker says so where its address is taken") {
  TempDir dir;
  std::string secret = dir.path() / "secret";
  FILE* file = fopen(secret.c_str(), "w");
  fputs("a secret", file);
  fclose(file);
  Process first(Program("tessera-worker"), {"--listen", "127.0.0.1:0", "--secret-file", secret});
  std::string line = first.WaitForLine("listening on ").value();
  std::string address = line.substr(line.find("listening on ") + 13);
  Process second(Program("tessera-worker"), {"--listen", address, "--secret-file", secret});
  CHECK(second.WaitForExit() == 1);
  CHECK(second.output().find("cannot listen on " + address) != std::string::npos);
}

TEST_CASE("a worker ends on SIGTERM and takes its socket with it") {
  TempDir dir;
  std::string socket = dir.path() / "worker.sock";
  Process worker(Program("tessera-worker"), {"--listen", "unix:" + socket});
  REQUIRE(worker.WaitForLine("listening on "));
  struct stat info;
  CHECK(stat(socket.c_str(), &info) == 0);
  worker.Signal(SIGTERM);
  CHECK(worker.WaitForExit() == 0);
  CHECK(stat(socket.c_str(), &info) != 0);
}

}  // namespace
}  // namespace tessera::tests
