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

# The same by itself: the agent takes what the channel offers, follows the next release, and goes back.
run edgeops-agent update --repo releases --root .edgeops/keys/root.json --channel beta --target gateway --home agent
say "a new version, trained anew"
sed -i -e 's/^version: 1.0.0/version: 1.1.0/' edgeops.yaml
sed -i -e 's/alpha=1e-2/alpha=2e-2/' train.py
run edgeops run
run edgeops-agent update --repo releases --home agent
run edgeops-agent rollback --home agent
