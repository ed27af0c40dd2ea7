#!/usr/bin/env bash
# RASFT steps against PyTorch: tokens per second, peak memory, agreement of the losses.
# Usage (after `make build`): run.sh TARGET_DIR MODEL_DIR [options of bench.py]. The peer lives in a virtual environment under TARGET_DIR; its
# wheel of torch brings CUDA libraries along, some 7 GB, of which nothing is used.
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=${1:?usage: run.sh TARGET_DIR MODEL_DIR}
MODEL=${2:?usage: run.sh TARGET_DIR MODEL_DIR}
shift 2
DATA=${RASFT_SHARED:-../shared}/data/train/gsm8k_train.jsonl
if [ ! -f "$DATA" ]; then
    echo "bench-train: skipped, there is no $DATA"
    exit 0
fi
WORK=$TARGET/bench-train
VENV=$WORK/venv
if [ ! -f "$VENV/ready" ]; then
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q --disable-pip-version-check -r benches/train/requirements.txt
    touch "$VENV/ready"
fi
OURS=$TARGET/debug/examples/train_steps
rows() {
    "$VENV/bin/python" benches/train/rows.py "$MODEL" "$DATA" 64 "$1" "$WORK/rows.jsonl"
    "$OURS" score "$MODEL" "$WORK/rows.jsonl" "$2"
}
rows 1 "$WORK/experts.jsonl"
rows 4 "$WORK/mixture.jsonl"
exec "$VENV/bin/python" benches/train/bench.py --ours "$OURS" --model "$MODEL" \
    --experts "$WORK/experts.jsonl" --mixture "$WORK/mixture.jsonl" "$@"
