#!/usr/bin/env bash
# A fresh Debian 12 made by debootstrap: README's first command works there with nothing else, its completion is
# the golden one (in f32 by its ids), and the second run takes seconds. With a second argument, that command is run
# there too (for instance tests/run.sh).
set -euo pipefail
source=${1:?usage: clean_machine_test.sh SOURCE_FOLDER [COMMAND]}
more=${2:-}

skip() { echo "SKIPPED: $*"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "debootstrap needs root"
command -v debootstrap >/dev/null || skip "debootstrap is missing"

root=$(mktemp -d)
clean() {
  for mount in dev/shm proc; do umount "$root/$mount" 2>/dev/null || true; done
  # Nothing below may still be mounted when the tree goes.
  grep -q " $root/" /proc/mounts || rm -rf --one-file-system "$root"
}
trap clean EXIT
# The same archive and settings that this machine installs from.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 || {
  tail -n 5 "$root.log"; rm -f "$root.log"; skip "debootstrap cannot reach an archive"; }
rm -f "$root.log"
cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm" && mount -t tmpfs tmpfs "$root/dev/shm"

git clone -q --no-hardlinks "$source" "$root/tessera"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"; }
inside bash /tessera/deploy/quickstart.sh | tee "$root/first.txt"
golden=$(python3 - "$source/deploy/models/demo/golden.json" <<'EOF'
import json, sys
case = next(c for c in json.load(open(sys.argv[1]))["cases"] if c.get("prompt") == "Once upon a time")
print(case["output_text"])
EOF
)
grep -qF -- "$golden" "$root/first.txt" || { echo "the completion is not the golden one: $golden"; exit 1; }
before=$SECONDS
inside bash /tessera/deploy/quickstart.sh >"$root/second.txt"
took=$((SECONDS - before))
echo "the second run took $took s"
[ $took -lt 120 ] || { echo "the second run builds again what the first has built"; exit 1; }

# In f32 the ids are those of the reference implementation.
inside bash -c '
  cd /tessera/build/release/bin
  ./tessera-server --model /tessera/deploy/models/demo/model --dtype f32 --tp 2 --grpc-port 0 >/tmp/server.log 2>&1 &
  for _ in $(seq 600); do grep -q "^ready: " /tmp/server.log && break; sleep 0.2; done
  target=$(sed -n "s/^ready: .* on //p" /tmp/server.log)
  ./tessera --target "$target" complete "Once upon a time" --temperature 0 --max-tokens 64 --json
  kill $!; wait $!' >"$root/f32.json"
"$source/tests/support/golden_ids.py" "$root/f32.json"
[ -z "$more" ] || inside bash -c "cd /tessera && $more"
