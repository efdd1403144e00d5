// The bundled model's tokenizer.
#ifndef TESSERA_TESTS_SUPPORT_DEMO_TOKENIZER_H_
#define TESSERA_TESTS_SUPPORT_DEMO_TOKENIZER_H_

#include <catch2/catch.hpp>

#include "server/text/tokenizer.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {

// Loaded once.
inline const server::Tokenizer& DemoTokenizer() {
  static const auto tokenizer = server::Tokenizer::Load(DemoModel());
  REQUIRE(tokenizer.ok());
  return **tokenizer;
}

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_SUPPORT_DEMO_TOKENIZER_H_
