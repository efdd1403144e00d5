#!/usr/bin/env bash
# Makes sure that Python packages are there in a virtual environment of the build folder, and prints
# the path of its interpreter: venv.sh PACKAGE==VERSION... Several tests may call it at a time. Exits
# with 77 ("skipped") where there is no venv module or the packages cannot be had.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${TESSERA_TEST_VENV:-$root/build/venv}

skip() { echo "SKIPPED: $*" >&2; exit 77; }

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if [ ! -x "$venv/bin/pip" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv" >"$venv.log" 2>&1 || skip "python3 -m venv failed: $(tail -n 1 "$venv.log")"
fi
missing=()
for package in "$@"; do
  [ -e "$venv/have-$package" ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${missing[@]}" >"$venv.log" 2>&1 ||
    skip "pip cannot install ${missing[*]}: $(tail -n 1 "$venv.log")"
  for package in "${missing[@]}"; do : >"$venv/have-$package"; done
fi
echo "$venv/bin/python"
