#!/usr/bin/env bash
# Our verifier against Math-Verify on the labelled cases: speed in alternation, latency, accuracy per kind.
# Usage: run.sh TARGET_DIR [options of bench.py]. The peer lives in a virtual environment under TARGET_DIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=${1:?usage: run.sh TARGET_DIR}
shift
VENV=$TARGET/bench-verify/venv
if [ ! -f "$VENV/ready" ]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q --disable-pip-version-check -r benches/verify/requirements.txt
    touch "$VENV/ready"
fi
${CARGO:-cargo} build --locked --release -p rasft-math --example judge_cases
exec "$VENV/bin/python" benches/verify/bench.py --ours "$TARGET/release/examples/judge_cases" "$@"
