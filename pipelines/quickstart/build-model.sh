#!/usr/bin/env bash
# The recipe of the quickstart's tiny model, from nothing to the bytes in pipelines/quickstart/model:
# synthetic problems → a tokenizer trained on them → a Qwen2 of about a million parameters, trained from random weights
# by this toolkit. It sees the two lowest levels of the world, first right (then it solves them all), and then, as much
# of what is written is, by authors who forget six of ten carries and borrows. So it knows the arithmetic and seldom
# insists on it: stories without a carry are solved always, those with several hardly ever, and most now and then.
# The same toolkit on the same kind of CPU gives the same bytes, in about eleven minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="${RASFT_BIN:-target/debug}:$PATH"
OUT=pipelines/quickstart/model
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export RASFT_STORE="${RASFT_STORE:-.rasft/store}"

problems() { rasft-import synthetic --rows "$1" --levels 1..2 --split train "${@:2}"; }
experts() { rasft-score mixture --for sft --problems "$1" --model "$2" --system-prompt "" --max-length 512; }
train() {
    rasft-train --objective sft --seed 1 --batch-size 32 --micro-batch-tokens 4096 --schedule cosine --weight-decay 0.01 \
        --beta2 0.99 --save-dtype bf16 "$@"
}

right=$(problems 60000 --seed 1)
"${RASFT_BIN:-target/debug}/examples/quickstart_tokenizer" "$right" "$WORK/init"
mixture=$(experts "$right" "$WORK/init")
able=$(train --from-scratch --model "$WORK/init" --mixture "$mixture" --steps 2400 --learning-rate 4e-3 --warmup-steps 40)

careless=$(problems 5000 --seed 2 --slips 60)
mixture=$(experts "$careless" "$able")
checkpoint=$(train --model "$able" --mixture "$mixture" --steps 150 --learning-rate 1e-3 --warmup-steps 20)

mkdir -p "$OUT"
for file in config.json generation_config.json tokenizer.json tokenizer_config.json model.safetensors; do
    install -m 644 "$checkpoint/$file" "$OUT/$file"
done
ls -l "$OUT"
