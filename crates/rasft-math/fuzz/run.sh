#!/usr/bin/env bash
# Fuzzes the verifier for SECONDS_CPU (default 600) seconds on one core; seeds and dictionary come from ../shared/verify.
# A finding is left under $TARGET/artifacts and fails the run. Needs cargo-fuzz; works on a stable compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
SHARED=${RASFT_SHARED:-../../../shared}
TARGET=${1:?usage: run.sh TARGET_DIR}/fuzz
command -v cargo-fuzz > /dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked"; exit 1; }
mkdir -p "$TARGET/corpus" "$TARGET/artifacts"
if [ -f "$SHARED/verify/cases_dev.jsonl" ]; then
    python3 fuzz/seeds.py "$SHARED/verify/cases_dev.jsonl" "$TARGET/corpus" "$TARGET/verify.dict"
else
    echo "$SHARED/verify not found: starting from nothing"
    : > "$TARGET/verify.dict"
fi
# The crate has no unsafe code, so no sanitizer; coverage flags alone need the bootstrap switch. Debug assertions and
# overflow checks are on.
export RUSTC_BOOTSTRAP=1
exec nice -n 10 cargo fuzz run --sanitizer none --target-dir "$TARGET" -a verify "$TARGET/corpus" -- \
    -max_total_time="${SECONDS_CPU:-600}" -max_len=600 -timeout=5 -rss_limit_mb=2048 \
    -dict="$TARGET/verify.dict" -artifact_prefix="$TARGET/artifacts/" -print_final_stats=1
