#!/usr/bin/env python3
"""The house checks find what they are for: literal inputs with a fault in each."""
import unittest

import check_includes
import check_sizes
import check_threads

README = """# x
## Who may include whom
| folder | may include |
|---|---|
| `server/app` | `server/engine` |
| `server/engine` | `server/kv` |
| `server/kv` | `shard_loader` |

## Next
"""


class Includes(unittest.TestCase):
    table = check_includes.read_table(README)

    def test_allows_what_the_table_reaches(self):
        text = '#include "server/kv/pool.h"\n#include "shard_loader/mutex.h"\n#include <vector>\n'
        self.assertEqual(check_includes.problems("server/app/main.cc", text, self.table), [])

    def test_refuses_a_step_back(self):
        found = check_includes.problems("server/kv/pool.cc", '#include "server/engine/a.h"', self.table)
        self.assertEqual(len(found), 1)

    def test_refuses_generated_types_outside_the_adapters(self):
        found = check_includes.problems("server/kv/pool.cc", '#include "tessera/v1/a.pb.h"', self.table)
        self.assertEqual(len(found), 1)

    def test_refuses_tests(self):
        found = check_includes.problems("server/kv/a.cc", '#include "tests/support/a.h"', self.table)
        self.assertEqual(len(found), 1)


class Sizes(unittest.TestCase):
    def test_finds_a_long_file(self):
        self.assertEqual(len(check_sizes.long_files({"a.cc": 801, "b.cc": 800})), 1)

    def test_finds_a_long_function_but_not_a_kernel(self):
        tag = '{"_type": "tag", "name": "F", "path": "%s", "line": 1, "end": 101}'
        self.assertEqual(len(check_sizes.long_functions(tag % "server/a.cc")), 1)
        self.assertEqual(check_sizes.long_functions(tag % "worker/backend/cpu/a.cc"), [])


class Threads(unittest.TestCase):
    def test_keeps_includes_and_drops_outputs(self):
        command = "/usr/bin/ccache /usr/bin/c++ -DX -I/a -Wall -fsanitize=thread -o a.o -c a.cc"
        self.assertEqual(check_threads.arguments(command), ["-DX", "-I/a", "a.cc"])


if __name__ == "__main__":
    unittest.main()
