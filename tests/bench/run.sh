#!/bin/sh
# Runs a bench of tests/bench/benches: JSON lines on standard output, a table of them on standard error.
#   tests/bench/run.sh             lists the benches
#   tests/bench/run.sh NAME [...]  runs one; what follows is for the bench itself
# BUILD names the build folder (default: build/release).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
BUILD=${BUILD:-$here/../../build/release}
export BUILD
if [ $# -eq 0 ]; then
  exec sed -n 's/^\([a-z_]*\)  *| .*| /\1: /p' "$here/benches"
fi
name=$1
shift
command=$(sed -n "s/^$name  *| \(.*\) | .*/\1/p" "$here/benches")
if [ -z "$command" ]; then
  echo "run.sh: no bench '$name'; without a name this lists them" >&2
  exit 2
fi
cd "$here"
# $command is words: a program and its first arguments.
# shellcheck disable=SC2086
eval $command '"$@"' | python3 "$here/table.py"
