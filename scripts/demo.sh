#!/usr/bin/env bash
# The digits project from training to a published bundle, and one prediction from what a device has.
# Everything happens in a temporary folder that is removed at the end.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" # so that nothing of yours is read or changed
export DVC_NO_ANALYTICS=1

say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

cd "$work"
run edgeops init digits
run cd digits
run edgeops run
run edgeops run # again: nothing has changed

# A device ships with the root of trust and takes the rest from the published folder.
run edgeops unpack releases --channel beta --root .edgeops/keys/root.json --target gateway -o device

run python predict.py
