#!/usr/bin/env bash
# Checks the build for CUDA without a GPU: every crate with the feature, candle's kernels compiled by nvcc.
# Usage: check-cuda.sh TARGET_DIR [cuda|cudnn]. Without an nvcc in PATH, CUDA_HOME or /usr/local/cuda, NVIDIA's packages on
# PyPI are taken, 1.2 GB under TARGET_DIR. Takes some 20 minutes of processor time; nothing of it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${1:?usage: check-cuda.sh TARGET_DIR [cuda|cudnn]}
FEATURE=${2:-cuda}
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
if ! command -v nvcc >/dev/null; then
    TOOLKIT=$TARGET/check-cuda/toolkit
    if [ ! -f "$TOOLKIT/ready" ]; then
        rm -rf "$TOOLKIT"
        python3 -m venv "$TOOLKIT/venv"
        "$TOOLKIT/venv/bin/pip" install -q --disable-pip-version-check --target "$TOOLKIT" 'nvidia-cuda-nvcc==13.0.*' \
            'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-nvvm==13.0.*' \
            'nvidia-cuda-nvrtc==13.0.*' 'nvidia-curand==10.4.*' 'nvidia-cublas==13.0.*'
        touch "$TOOLKIT/ready"
    fi
    CUDA_HOME=$TOOLKIT/nvidia/cu13
    export CUDA_HOME CUDA_PATH=$CUDA_HOME CUDA_ROOT=$CUDA_HOME CUDA_TOOLKIT_ROOT_DIR=$CUDA_HOME NVCC=$CUDA_HOME/bin/nvcc
    export PATH=$CUDA_HOME/bin:$PATH
fi
nvcc --version | tail -n 2
# Without a GPU nobody says which one is meant; each nvcc takes gigabytes.
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80} CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-1}
exec "${CARGO:-cargo}" check --locked --workspace --all-targets --features "$FEATURE" --target-dir "$TARGET/check-cuda/build"
