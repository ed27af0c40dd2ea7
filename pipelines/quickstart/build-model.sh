#!/usr/bin/env bash
# The recipe of the quickstart's tiny model, from nothing to the bytes in pipelines/quickstart/model:
# synthetic problems → a tokenizer trained on them → a Qwen2 of about a million parameters, trained from random weights
# by this toolkit. It stops early on purpose, so that the model solves some problems always, some never, many sometimes.
# The same toolkit on the same kind of CPU gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="${RASFT_BIN:-target/debug}:$PATH"
OUT=pipelines/quickstart/model
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export RASFT_STORE="${RASFT_STORE:-.rasft/store}"

problems=$(rasft-import synthetic --seed 1 --rows 40000 --levels 1..2 --split train)
"${RASFT_BIN:-target/debug}/examples/quickstart_tokenizer" "$problems" "$WORK/init"
mixture=$(rasft-score mixture --for sft --problems "$problems" --model "$WORK/init" --system-prompt "" --max-length 512)
checkpoint=$(rasft-train --from-scratch --model "$WORK/init" --mixture "$mixture" --objective sft --seed 1 \
    --steps "${STEPS:-1200}" --batch-size 32 --micro-batch-tokens 4096 --learning-rate 4e-3 --warmup-steps 40 --schedule cosine \
    --weight-decay 0.01 --beta2 0.99 --save-dtype bf16)
mkdir -p "$OUT"
for file in config.json generation_config.json tokenizer.json tokenizer_config.json model.safetensors; do
    install -m 644 "$checkpoint/$file" "$OUT/$file"
done
ls -l "$OUT"
