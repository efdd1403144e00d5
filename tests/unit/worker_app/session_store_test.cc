#include "worker/app/session_store.h"

#include <catch2/catch.hpp>

#include <thread>
#include <utility>
#include <vector>

namespace tessera::worker {
namespace {

SessionStore::SendFunction Ignore() {
  return [](const std::string&, const std::string&) { return true; };
}

TEST_CASE("an entry that this rank sets is sent, and can be read here") {
  std::vector<std::pair<std::string, std::string>> sent;
  SessionStore store([&sent](const std::string& key, const std::string& value) {
    sent.emplace_back(key, value);
    return true;
  });
  REQUIRE(store.Set("a", "1").ok());
  CHECK(sent == std::vector<std::pair<std::string, std::string>>{{"a", "1"}});
  CHECK(store.Get("a", absl::ZeroDuration()).value() == "1");
}

TEST_CASE("Get waits for an entry of another rank") {
  SessionStore store(Ignore());
  std::thread other([&store] { REQUIRE(store.Put("b", "2").ok()); });
  CHECK(store.Get("b", absl::Seconds(30)).value() == "2");
  other.join();
}

TEST_CASE("Get gives up after its time, and names the key") {
  SessionStore store(Ignore());
  absl::Status status = store.Get("missing", absl::Milliseconds(1)).status();
  CHECK(absl::IsDeadlineExceeded(status));
  CHECK(std::string(status.message()).find("missing") != std::string::npos);
}

TEST_CASE("a store that is closed ends every wait with its reason") {
  SessionStore store(Ignore());
  std::thread other([&store] { store.Close(absl::CancelledError("over")); });
  CHECK(absl::IsCancelled(store.Get("c", absl::Seconds(30)).status()));
  other.join();
}

TEST_CASE("a session that is gone fails Set") {
  SessionStore store([](const std::string&, const std::string&) { return false; });
  CHECK(absl::IsUnavailable(store.Set("a", "1")));
}

TEST_CASE("a store takes no more than it should") {
  SessionStore store(Ignore());
  CHECK(store.Put("long", std::string(65536, 'x')).ok());
  CHECK(absl::IsResourceExhausted(store.Put("longer", std::string(65537, 'x'))));
  absl::Status status;
  for (int i = 0; status.ok() && i < 70000; ++i) status = store.Put(std::to_string(i), "");
  CHECK(absl::IsResourceExhausted(status));
}

}  // namespace
}  // namespace tessera::worker
