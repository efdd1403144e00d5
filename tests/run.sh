#!/usr/bin/env bash
# Builds and tests everything. `tests/run.sh --help` tells the options.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: tests/run.sh [--full] [--no-install] [-R REGEX]

  --full        add the long matrices and random walks, and fuzz every target for 60 s instead of 5
  --no-install  do not install missing Debian packages
  -R REGEX      run only the tests whose name matches (release build alone, no fuzzing)

Runs: the release build with all tests; where nvcc is, the CUDA plugin and its tests; address and undefined-behaviour sanitizers over unit, conformance and
integration tests; the thread sanitizer over tests labelled `threads`; every fuzz target on its corpus.
EOF
}

full=0 install=1 regex=
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=1 ;;
    --no-install) install=0 ;;
    -R) regex=${2:?-R needs a regular expression}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

if [ $install = 1 ]; then
  deploy/scripts/install_packages.sh deploy/debian-packages.txt tests/debian-packages.txt
fi

jobs=$(nproc)
passed=0 failed=0 skipped=0
# Clones of the project share what the compiler made, wherever they lie.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}

headline() { printf '\n=== %s (%s s)\n' "$1" "$SECONDS"; }

build() { # PRESET [TARGET]
  local log=build/$1.log target=()
  mkdir -p build
  [ $# -lt 2 ] || target=(-t "$2")
  if ! { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs" "${target[@]}"; } >"$log" 2>&1; then
    grep -E -A 15 'FAILED|error:|CMake Error' "$log" | head -n 80 || tail -n 40 "$log"
    exit 1
  fi
  tail -n 1 "$log"
}

# Runs ctest and adds its counts. A skipped test names itself in the listing.
count() { # LOG
  local ran lost left
  ran=$(grep -cE '^ *[0-9]+/[0-9]+ Test.* Passed ' "$1" || true)
  lost=$(grep -cE '^ *[0-9]+/[0-9]+ Test.*\*\*\*(Failed|Timeout|Exception|Not Run)' "$1" || true)
  left=$(grep -cE '^ *[0-9]+/[0-9]+ Test.*\*\*\*Skipped' "$1" || true)
  passed=$((passed + ran)) failed=$((failed + lost)) skipped=$((skipped + left))
}

run_ctest() { # BUILD_FOLDER ARGS...
  local folder=$1 log
  shift
  log=$(mktemp)
  local status=0
  setarch -R ctest --test-dir "$folder" --output-on-failure -j "$jobs" "$@" >"$log" 2>&1 || status=$?
  grep -vE '^ *Start +[0-9]+:|Test +#[0-9]+: .* Passed ' "$log" | sed -E 's/ \.{3,}/ .../' || true
  count "$log"
  if [ $status -ne 0 ] && ! grep -qE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log"; then
    failed=$((failed + 1))  # ctest itself failed
  fi
  rm -f "$log"
}

finish() {
  headline "done"
  printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

headline "release: build"
build release

headline "release: tests"
if [ -n "$regex" ]; then
  run_ctest build/release -R "$regex"
  finish
  exit
fi
if [ $full = 1 ]; then run_ctest build/release; else run_ctest build/release -LE full; fi

if command -v nvcc >/dev/null; then
  headline "CUDA plugin"
  build cuda tests-device
  run_ctest build/cuda -L '^device$'
else
  echo "nvcc is missing: the CUDA plugin is not built"
fi

headline "address and undefined-behaviour sanitizers"
build asan tests-asan
asan_options=detect_stack_use_after_return=1:strict_string_checks=1
ASAN_OPTIONS=$asan_options run_ctest build/asan -L '^(unit|conformance)$' -LE '^(full|house|slow)$'
# Open MPI leaves memory behind in modules that it unloads: leaks are looked for in the other kinds.
ASAN_OPTIONS=$asan_options:detect_leaks=0 \
  run_ctest build/asan -L '^integration$' -LE '^(full|house|slow)$'

headline "thread sanitizer"
build tsan tests-threads
TSAN_OPTIONS=halt_on_error=1 run_ctest build/tsan -L '^threads$' -LE '^full$'

headline "fuzzing"
build fuzz tests-fuzzers
seconds=5
[ $full = 1 ] && seconds=60
for target in build/fuzz/fuzz/*; do
  name=$(basename "$target")
  grown=build/fuzz/corpus/$name
  mkdir -p "$grown"
  if "$target" -max_total_time=$seconds -timeout=20 -rss_limit_mb=2048 -close_fd_mask=1 \
      "$grown" "tests/fuzz/corpus/$name" >build/fuzz/"$name".log 2>&1; then
    passed=$((passed + 1))
    echo "fuzz $name: $(grep -E '^#[0-9]+.*DONE' build/fuzz/"$name".log | tail -n 1)"
  else
    failed=$((failed + 1))
    tail -n 40 build/fuzz/"$name".log
  fi
done

finish
