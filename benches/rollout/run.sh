#!/usr/bin/env bash
# Our rollout engine against transformers and llama.cpp, both f32. Usage (after `make build`): run.sh TARGET_DIR MODEL_DIR [options of bench.py].
# The peers live in a virtual environment under TARGET_DIR (RASFT_BENCH_VENV names another); llama.cpp is compiled for it.
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=${1:?usage: run.sh TARGET_DIR MODEL_DIR}
MODEL=${2:?usage: run.sh TARGET_DIR MODEL_DIR}
shift 2
VENV=${RASFT_BENCH_VENV:-$TARGET/bench-rollout/venv}
mkdir -p "$TARGET/bench-rollout"
if [ ! -f "$VENV/ready" ]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q --disable-pip-version-check -r benches/rollout/requirements.txt
    touch "$VENV/ready"
fi
GGUF=$TARGET/bench-rollout/model-f32.gguf
[ -f "$GGUF" ] && [ "$GGUF" -nt "$MODEL/model.safetensors" ] || "$VENV/bin/python" benches/rollout/to_gguf.py "$MODEL" "$GGUF"
"$TARGET/debug/examples/invariance_cost"
exec "$VENV/bin/python" benches/rollout/bench.py --ours "$TARGET/debug/examples/rollout_bench" --model "$MODEL" --gguf "$GGUF" "$@"
