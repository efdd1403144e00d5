#!/usr/bin/env bash
# Checks and measures a CUDA device. `deploy/gpu-check.sh --help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'USAGE'
usage: gpu-check.sh [--json FILE] [--layers N]      on a machine with a GPU
       gpu-check.sh --pack FOLDER                   on a machine with the CUDA toolkit

Without --pack: runs the device tests (conformance with the reference and with the CPU's bits, whole
models at several degrees as threads that share the device), compute-sanitizer over the conformance where
it is installed, the bench, and the same steps through PyTorch where it is installed; prints a table, and
the same as JSON (--json, default gpu-check.json). It takes what --pack made where it lies in such a folder,
else it builds from source (nvcc and the packages of deploy/debian-packages.txt). Exit code 1: something
failed; 77: there is no device.

--pack FOLDER makes a folder that runs on a machine with nothing but a driver: programs, the libraries
that they need down to the C library, and the models of the tests. Copy it there and run its gpu-check.sh.
--layers N: of the benched model, 32 unless the device has too little memory.
USAGE
}

pack= json=gpu-check.json layers=32
while [ $# -gt 0 ]; do
  case $1 in
    --pack) pack=${2:?--pack needs a folder}; shift ;;
    --json) json=${2:?--json needs a file}; shift ;;
    --layers) layers=${2:?--layers needs a number}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

programs="cuda_device_test golden_cuda_device_test nccl_device_test cuda_bench"
models="llama3_gqa llama_small mistral qwen2 qwen3 deepseek_v3 gpt_oss mixtral"

build() {
  cd "$here/.."
  if ! command -v nvcc >/dev/null; then
    echo "gpu-check: there is no nvcc: install the CUDA toolkit, or run a folder made by --pack" >&2
    exit 1
  fi
  cmake --preset cuda >/dev/null
  cmake --build --preset cuda -t tests-device
}

# Programs of this build, each beside what it loads.
make_pack() {
  build
  mkdir -p "$pack/bin" "$pack/tests/fixtures/checkpoints"
  local program library
  for program in $programs; do cp "build/cuda/tests/$program" "$pack/bin/"; done
  cp build/cuda/bin/libtessera_cuda.so "$pack/bin/"
  # The loader too: a program then needs no C library of the other machine.
  for program in $programs libtessera_cuda.so; do
    ldd "$pack/bin/$program" | grep -oE '/[^ ]+' | while read -r library; do
      cp -nL "$library" "$pack/bin/"
    done
  done
  for model in $models; do cp -r "tests/fixtures/checkpoints/$model" "$pack/tests/fixtures/checkpoints/"; done
  cp deploy/gpu-check.sh tests/bench/cuda/torch_steps.py tests/bench/cuda/summary.py "$pack/"
  echo "$pack: $(du -sh "$pack" | cut -f1); copy it to the machine with the GPU and run its gpu-check.sh"
}

if [ -n "$pack" ]; then
  mkdir -p "$pack"
  pack=$(cd "$pack" && pwd)
  make_pack
  exit
fi

# How a program is run: from a pack by the loader that it brought.
if [ -d "$here/bin" ]; then
  cd "$here"
  steps=$here/torch_steps.py
  run() { # PROGRAM ARGS...
    local program=$1
    shift
    bin/ld-linux-x86-64.so.2 --library-path bin "bin/$program" "$@"
  }
  sanitize() { # TOOL PROGRAM ARGS...
    local tool=$1 program=$2
    shift 2
    compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
      bin/ld-linux-x86-64.so.2 --library-path bin "bin/$program" "$@"
  }
else
  build
  steps=tests/bench/cuda/torch_steps.py
  run() {
    local program=$1
    shift
    "build/cuda/tests/$program" "$@"
  }
  sanitize() {
    local tool=$1 program=$2
    shift 2
    compute-sanitizer --tool "$tool" --error-exitcode 9 "build/cuda/tests/$program" "$@"
  }
fi

records=$(mktemp)
output=$(mktemp)
trap 'rm -f "$records" "$output"' EXIT
failed=0

record() { # NAME RESULT SECONDS
  printf '%-52s %-8s %5s s\n' "$1" "$2" "$3"
  printf '{"check": "%s", "result": "%s", "seconds": %s}\n' "$1" "$2" "$3" >>"$records"
}

check() { # NAME COMMAND...
  local name=$1 start=$SECONDS status=0
  shift
  "$@" >"$output" 2>&1 || status=$?
  case $status in
    0) record "$name" passed $((SECONDS - start)) ;;
    77)
      record "$name" skipped $((SECONDS - start))
      grep -m 1 SKIPPED "$output" || true
      return 77
      ;;
    *)
      record "$name" FAILED $((SECONDS - start))
      tail -n 30 "$output"
      failed=1
      ;;
  esac
}

if ! check "the kernels on the device" run cuda_device_test; then
  echo "gpu-check: there is no device to check"
  exit 77
fi
check "whole models on the device" run golden_cuda_device_test
check "nccl between two processes on one card" run nccl_device_test || true
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    check "compute-sanitizer $tool" sanitize "$tool" cuda_device_test "device: a row of*"
  done
else
  record "compute-sanitizer" missing 0
fi

if run cuda_bench "$layers" >"$output"; then
  cat "$output"
  cat "$output" >>"$records"
else
  record "cuda_bench" FAILED 0
  failed=1
fi
if command -v python3 >/dev/null; then
  python3 "$steps" "$layers" >"$output" 2>/dev/null || echo '{"bench": "torch", "missing": "it failed"}' >"$output"
  cat "$output"
  cat "$output" >>"$records"
  # What was measured as fractions of the limits of this run, and beside PyTorch.
  if python3 "$(dirname "$steps")/summary.py" "$records" >"$output"; then
    cat "$output"
    tail -n 1 "$output" >>"$records"
  else
    record "summary" FAILED 0
    failed=1
  fi
fi

{ printf '[\n'; sed '$!s/$/,/' "$records"; printf ']\n'; } >"$json"
echo "written to $json"
exit $failed
