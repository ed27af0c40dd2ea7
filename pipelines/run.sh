#!/usr/bin/env bash
# One experiment from problems to report, stage by stage. Every stage prints the path of its result on stdout and finds
# what it did before in the store, so running this again costs nothing and a killed run goes on where it stopped.
#
#   pipelines/run.sh pipelines/quickstart.toml
set -euo pipefail

CONFIG=${1:?usage: pipelines/run.sh EXPERIMENT.toml}
PATH="${RASFT_BIN:-target/debug}:$PATH"
command -v rasft-store >/dev/null || { echo "run.sh: the programs are not there: run \`make build\`, or set RASFT_BIN to their folder" >&2; exit 1; }
cfg() { rasft-store config "$CONFIG" "pipeline.$1" ${2+"$2"}; }
say() { printf '\n── %s\n' "$*" >&2; }
stage() { "$1" --config "$CONFIG" "${@:2}"; }
started=$SECONDS

rasft-store config "$CONFIG" >/dev/null # a misspelt key shows now, not after a night of training
NAME=$(cfg name)
OUT=$(cfg out "out/$NAME")
BASE=$(cfg model)
ROUNDS=$(cfg rounds)
SLICE=$(cfg problems_per_round)
STEPS=$(cfg steps_per_round)
for count in "rounds=$ROUNDS" "problems_per_round=$SLICE" "steps_per_round=$STEPS"; do
    if ! [[ ${count#*=} =~ ^[1-9][0-9]*$ ]]; then
        echo "run.sh: $CONFIG: [pipeline] ${count%%=*} is ${count#*=}, expected a whole number from 1 on" >&2
        exit 2
    fi
done
if [[ $BASE != hf:* && ! -e $BASE ]]; then
    echo "run.sh: there is no model $BASE under $PWD, from where paths count; pipelines/README.md says how to get it" >&2
    exit 1
fi

say "$NAME: problems"
train=$(stage rasft-import --section train --out "$OUT/problems/train")
bench=$(stage rasft-import --section test --out "$OUT/problems/test")

# A model that has never seen the answer format first learns it on problems set aside.
policy=$BASE
if [ "$(cfg format_warmup false)" = true ]; then
    say "format warm-up"
    aside=$(stage rasft-import --section warmup --out "$OUT/problems/warmup")
    experts=$(stage rasft-score mixture --for sft --problems "$aside" --model "$policy")
    policy=$(stage rasft-train --section warmup --objective sft --mixture "$experts" --model "$policy" --out "$OUT/checkpoints/warmup")
fi
start=$policy

say "baseline: plain supervised fine-tuning on the same problems, as many steps"
experts=$(stage rasft-score mixture --for sft --problems "$train" --slice "0:$((ROUNDS * SLICE))" --model "$start" --out "$OUT/sft/mixture")
sft=$(stage rasft-train --objective sft --mixture "$experts" --model "$start" --steps "$((ROUNDS * STEPS))" --out "$OUT/checkpoints/sft")

calibration=() pool=() continue=()
for ((r = 0; r < ROUNDS; r++)); do
    say "round $r"
    dir=$OUT/rounds/$r
    fraction=$(awk "BEGIN { print $r / $ROUNDS }")
    last=()
    ((r + 1 < ROUNDS)) || last=(--flush) # what is still in the hard pool trains on its expert before the run ends
    difficulty=$(stage rasft-score difficulty --problems "$train" --model "$policy" --slice "$((r * SLICE)):$SLICE" --round "$r" \
        --progress-fraction "$fraction" "${calibration[@]}" "${pool[@]}" "${last[@]}" --out "$dir/difficulty")
    rollouts=$(stage rasft-rollout --problems "$train" --model "$policy" --select "$difficulty" --round "$r" --out "$dir/rollouts")
    verdicts=$(stage rasft-verify --rollouts "$rollouts" --problems "$train" --out "$dir/verdicts")
    solvability=$(stage rasft-score solvability --problems "$train" --rollouts "$rollouts" --verdicts "$verdicts" \
        --difficulty "$difficulty" --out "$dir/solvability")
    mixture=$(stage rasft-score mixture --problems "$train" --rollouts "$rollouts" --verdicts "$verdicts" --solvability "$solvability" \
        --difficulty "$difficulty" --model "$policy" --reference "$start" --round "$r" --out "$dir/mixture")
    policy=$(stage rasft-train --objective rasft --mixture "$mixture" --model "$policy" "${continue[@]}" \
        --steps "$STEPS" --schedule-steps "$((ROUNDS * STEPS))" --out "$OUT/checkpoints/rasft-$((r + 1))")
    [ ${#calibration[@]} -gt 0 ] || calibration=(--calibration "$difficulty")
    pool=(--hard-pool "$difficulty" --solved "$solvability")
    continue=(--continue "$policy")
done

say "evaluation on $(cfg bench_name "$NAME") problems that no stage above has seen"
runs=()
models=("base=$start" "sft=$sft" "rasft=$policy")
[ "$start" = "$BASE" ] || models=("untouched=$BASE" "${models[@]}")
for model in "${models[@]}"; do
    say "$NAME: ${model%%=*}"
    run=$(stage rasft-eval run --model "${model#*=}" --bench "$(cfg bench_name "$NAME")=$bench" --out "$OUT/eval/${model%%=*}")
    runs+=("${model%%=*}=$run")
done
stage rasft-eval compare "${runs[@]}" --out "$OUT/eval/comparison"
stage rasft-eval compare "${runs[@]: -2}" --out "$OUT/eval/rasft-against-sft"
rasft-eval report --runs "${runs[@]}" --out "$OUT/report.html"
say "done in $((SECONDS - started)) s; results are under $OUT"
