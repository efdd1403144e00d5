// Runs of a family's checkpoint at different layouts, for comparing bits.
#ifndef TESSERA_TESTS_GOLDEN_MODEL_FAMILY_RUNS_H_
#define TESSERA_TESTS_GOLDEN_MODEL_FAMILY_RUNS_H_

#include <string>
#include <vector>

#include "tests/golden/model/group.h"

namespace tessera::tests {

struct Degrees {
  int tp = 1;
  int pp = 1;
};

// The folders below tests/fixtures that hold a checkpoint of a family and its golden answers, in
// one order; and, as whole paths, those below the folder that TESSERA_MORE_CHECKPOINTS names.
std::vector<std::string> FamilyCheckpoints();

// Likewise those that hold one in another format than its family's own.
std::vector<std::string> FormatCheckpoints();

// Some greedy steps after each golden prompt, together; prompts are taken in chunks.
std::vector<Answer> RunFamily(const std::string& name, const GroupOptions& options);

// Checks that every bit is equal.
void CheckSame(const std::vector<Answer>& expected, const std::vector<Answer>& found);

// Compares each layout that the model can be cut into with one rank; the number of those.
int CheckDegrees(const std::string& name, const std::vector<Degrees>& layouts);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_GOLDEN_MODEL_FAMILY_RUNS_H_
