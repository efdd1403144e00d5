// Megabytes per second of one thread: bench_text TOKENIZER_FOLDER TEXT_FILE...
//
// Prints one JSON line per text: {"text", "bytes", "tokens", "encode_mb_s", "decode_mb_s"}; the
// best of several runs, a second of each.
#include <algorithm>
#include <ctime>
#include <functional>
#include <iostream>

#include "server/text/tokenizer.h"
#include "tests/support/fixtures.h"

namespace {

// The thread's own time: what else runs on the machine does not count.
double ThreadSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double BestSeconds(const std::function<void()>& work) {
  double best = 1e9;
  double spent = 0;
  for (int run = 0; run < 3 || (spent < 1 && run < 1000); ++run) {
    const double start = ThreadSeconds();
    work();
    const double seconds = ThreadSeconds() - start;
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  using tessera::server::Tokenizer;
  if (argc < 3) {
    std::cerr << "usage: bench_text TOKENIZER_FOLDER TEXT_FILE...\n";
    return 2;
  }
  const auto tokenizer = Tokenizer::Load(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  for (int i = 2; i < argc; ++i) {
    const std::string text = tessera::tests::ReadFile(argv[i]);
    const auto ids = (*tokenizer)->EncodeIds(text, {});
    if (!ids.ok()) {
      std::cerr << argv[i] << ": " << ids.status() << "\n";
      return 1;
    }
    const double encode = BestSeconds([&] { (void)(*tokenizer)->EncodeIds(text, {}); });
    const double decode = BestSeconds([&] { (void)(*tokenizer)->Decode(*ids, false); });
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    const nlohmann::json line = {{"text", std::filesystem::path(argv[i]).stem().string()},
                                 {"bytes", text.size()},
                                 {"tokens", ids->size()},
                                 {"encode_mb_s", megabytes / encode},
                                 {"decode_mb_s", megabytes / decode}};
    std::cout << line.dump() << std::endl;
  }
  return 0;
}
