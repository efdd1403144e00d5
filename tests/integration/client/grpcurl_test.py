"""Runs the grpcurl example against a real server; skipped where there is no grpcurl."""

import shutil
import sys

from running import SOURCE, Server, run

if shutil.which("grpcurl") is None:
    print("SKIPPED: grpcurl is not installed (Debian 12 does not ship it)")
    sys.exit(77)

server = Server()
try:
    code, out, err = run(SOURCE / "client/examples/grpcurl.sh", server.target)
finally:
    ended = server.stop()
assert code == 0, err
assert ended == 0, server.log
for expected in ["tessera.v1.Inference", "SERVING", '"finished"', '"state": "READY"']:
    assert expected in out, f"{expected} is missing in: {out}"
print("the example's calls were answered")
