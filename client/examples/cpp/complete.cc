// Completes a prompt with the C++ client library and prints the text as it comes:
// example_complete [TARGET] [PROMPT]
#include <iostream>
#include <string>
#include <variant>

#include "client/lib/client.h"
#include "client/lib/error_details.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << "\n";
  const auto details = tessera::client::DetailsOf(status);
  if (!details.field.empty()) std::cerr << "wrong field: " << details.field << "\n";
  if (details.retry_after > absl::ZeroDuration()) {
    std::cerr << "try again in " << details.retry_after << "\n";
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tessera::client;
  auto client = Client::Connect({.target = argc > 1 ? argv[1] : "127.0.0.1:8001"});
  if (!client.ok()) return Fail(client.status());

  GenerateOptions options;
  options.prompt = std::string(argc > 2 ? argv[2] : "Once upon a time");
  options.sampling.temperature = 0.0f;
  options.stop.max_tokens = 64;
  options.timeout = absl::Seconds(60);

  auto stream = (*client)->Generate(options);
  while (true) {
    auto event = stream->Next();
    if (!event.ok()) return Fail(event.status());
    if (!event->has_value()) break;
    if (const auto* delta = std::get_if<Delta>(&(*event)->event)) {
      std::cout << delta->text << std::flush;
    } else if (const auto* finished = std::get_if<Finished>(&(*event)->event)) {
      std::cout << "\n[" << finished->usage.prompt_tokens << " tokens in, "
                << finished->usage.completion_tokens << " out]\n";
    }
  }
  return 0;
}
