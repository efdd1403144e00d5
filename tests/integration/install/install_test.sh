#!/usr/bin/env bash
# What `cmake --install` and `cpack` make from a build folder serves the bundled model where it stands, without the
# build folder: the tree after it was moved, the Debian package unpacked. install_test.sh BUILD_FOLDER
set -euo pipefail
build=${1:?usage: install_test.sh BUILD_FOLDER}
command -v dpkg-shlibdeps >/dev/null || { echo "SKIPPED: dpkg-dev, which finds what a package needs, is missing"; exit 77; }

root=$(mktemp -d)
server=
clean() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" || true; }
  rm -rf "$root"
}
trap clean EXIT
fail() { echo "$*"; exit 1; }

# Serves and answers with the programs and files below PREFIX alone.
serves() { # PREFIX
  local log=$root/server.log target
  (cd / && exec "$1/bin/tessera" serve --grpc-port 0 --tp 2 --dtype f32 --config "$1/share/tessera/tessera.conf") >"$log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    grep -q '^ready: ' "$log" && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.2
  done
  target=$(sed -n 's/^ready: .* on //p' "$log")
  [ -n "$target" ] || { cat "$log"; fail "the server below $1 is not ready"; }
  readlink "/proc/$(pgrep -P "$server" -f tessera-worker | head -n 1)/exe" | grep -qx "$1/bin/tessera-worker" ||
    fail "the workers are not those below $1"
  "$1/bin/tessera" --target "$target" complete "Once upon a time" --temperature 0 --max-tokens 64 --json >"$root/answer.json"
  "$(dirname "$0")/../../support/golden_ids.py" "$root/answer.json"
  kill "$server"
  wait "$server" || fail "the server below $1 ended with $?"
  server=
}

cmake --install "$build" --prefix "$root/first" >/dev/null
mv "$root/first" "$root/moved"
serves "$root/moved"
for file in share/bash-completion/completions/tessera share/zsh/site-functions/_tessera lib/systemd/system/tessera.service \
    lib/systemd/system/tessera-worker.service share/doc/tessera/{LICENSE,NOTICE,README.md}; do
  [ -s "$root/moved/$file" ] || fail "$file is not installed"
done
bash -n "$root/moved/share/bash-completion/completions/tessera"

cpack --config "$build/CPackConfig.cmake" -B "$root/package" >"$root/cpack.log" || { cat "$root/cpack.log"; fail "cpack failed"; }
package=$(echo "$root"/package/tessera_*.deb)
dpkg-deb --field "$package" Depends | grep -q 'libgrpc++' || fail "the package does not name what it needs"
dpkg-deb -x "$package" "$root/unpacked"
serves "$root/unpacked/usr"
for unit in "$root"/unpacked/usr/lib/systemd/system/*.service; do
  program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")
  [ -x "$root/unpacked$program" ] || fail "$(basename "$unit") starts $program, which the package does not bring"
done
echo "$(du -sh "$root/moved" | cut -f 1) installed, $(du -h "$package" | cut -f 1) as $(basename "$package")"
