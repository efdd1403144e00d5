#!/usr/bin/env bash
# From a fresh Debian 12 to a served model: installs packages, builds, starts a server with the bundled model on
# two tensor-parallel CPU workers, and streams a completion and a chat answer through the command line.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=0 no_install=0 jobs=$(nproc)
usage() {
  cat <<'EOF'
usage: deploy/quickstart.sh [--keep] [--no-install] [-j JOBS]

  --keep        leave the server running at the end
  --no-install  do not install missing Debian packages
  -j JOBS       compile with so many jobs (default: the number of processors)
EOF
}
while [ $# -gt 0 ]; do
  case $1 in
    --keep) keep=1 ;;
    --no-install) no_install=1 ;;
    -j) jobs=${2:?-j needs a number}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say_and_run() { printf '$ %s\n' "$*"; "$@"; }

step "1. Debian packages (deploy/debian-packages.txt)"
if [ $no_install = 0 ]; then
  deploy/scripts/install_packages.sh deploy/debian-packages.txt
fi
echo "all there"

step "2. Build (build/release)"
if [ ! -f build/release/build.ninja ]; then
  say_and_run cmake --preset release -DTESSERA_WERROR=OFF -DTESSERA_TESTS=OFF >/dev/null
fi
cmake --build build/release -j "$jobs" -t tessera -t tessera-server -t tessera-worker | tail -n 1
bin=$PWD/build/release/bin

step "3. Serve the bundled model on two tensor-parallel workers"
log=$(mktemp)
server=
stop() {
  status=$?
  if [ -n "$server" ] && { [ $keep = 0 ] || [ $status -ne 0 ]; }; then
    kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true
  fi
  if [ $keep = 0 ] || [ $status -ne 0 ]; then rm -f "$log"; fi
}
trap stop EXIT
echo "\$ tessera serve --tp 2 --dtype f32 --grpc-port 0"
"$bin/tessera" serve --tp 2 --dtype f32 --grpc-port 0 >"$log" 2>&1 &
server=$!
target=
for _ in $(seq 600); do
  target=$(sed -n 's/.*ready: .* on \([^ ]*\)$/\1/p' "$log" | tail -n 1)
  [ -n "$target" ] && break
  if ! kill -0 "$server" 2>/dev/null; then
    cat "$log" >&2
    server=
    exit 1
  fi
  read -r -t 0.1 <> <(:) || true
done
if [ -z "$target" ]; then
  echo "the server was not ready after 60 s; its log:" >&2
  cat "$log" >&2
  exit 1
fi
cat "$log"

step "4. A completion"
printf '$ tessera --target %s complete "Once upon a time" --temperature 0 --max-tokens 64\n' "$target"
"$bin/tessera" --target "$target" complete "Once upon a time" --temperature 0 --max-tokens 64

step "5. A chat answer"
printf '$ tessera --target %s chat "What is the capital of Norway?" --temperature 0\n' "$target"
"$bin/tessera" --target "$target" chat "What is the capital of Norway?" --temperature 0

step "Next"
cat <<EOF
  export PATH=$bin:\$PATH
  tessera serve --tp 2                        # serves until Ctrl-C; --model DIR for a model of yours
  tessera chat                                # in another terminal
  tessera status                              # what the server is doing
  tessera plan DIR --tp 2                     # what each worker would hold, before loading it
  tests/run.sh                                # all tests
EOF
if [ $keep = 1 ]; then
  disown "$server"
  printf '\nThe server goes on as process %s on %s (log: %s); end it with: kill %s\n' "$server" "$target" "$log" "$server"
fi
