#!/usr/bin/env bash
# Checks and measures this package on a GPU within six minutes. It compares every network with the CPU, times networks,
# estimator and training step against eager float32, checks a bit-exact resume, and compares the loader with the step.
# It writes OUTPUT/gpu_check.json and OUTPUT/gpu_check.md, a table for docs/results.md. Both are always written, and
# name the parts that failed or had no time left.
#   tools/gpu_check.sh [--device cuda|cpu] [--output DIR] [--reference CHECKOUT]
# The device cpu only tests this script, with tiny sizes. CHECKOUT is a checkout of the original, to measure it as well.
set -euo pipefail
device=cuda output=gpu_check reference=
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2 ;;
    --output) output=$2 ;;
    --reference) reference=$2 ;;
    *) sed -n '2,8p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
python=${PYTHON:-python3}
limit=${LIMIT_S:-360}
for_the_report=15 # seconds
mkdir -p "$output"
output=$(realpath "$output")
work=$output/work
rm -rf "$work" "$output"/*.json
mkdir "$work"
failed=0 child=

report() {
    trap - EXIT
    [ -z "$child" ] || kill "$child" 2> /dev/null || true
    "$python" -m featdepth_training.bench.gpu_report "$output" "$device" || failed=1
    exit $failed
}
trap report EXIT
trap 'failed=1; exit' INT TERM

# Prints the outcome of a part, and stores it for the report.
became() {  # NAME WORDS
    printf '%s\t%s\n' "$1" "$2" >> "$work/parts.tsv"
    echo "$1: $2"
}

# Runs a part within the remaining time, and within a third of the total time. Its log is work/NAME.log, its results are
# in NAME.json.
part() {  # NAME COMMAND...
    local name=$1 started=$SECONDS left=$((limit - for_the_report - SECONDS)) most=$((limit / 3))
    shift
    if [ $left -lt 5 ]; then
        became "$name" "skipped, no time left"
        failed=1
        return
    fi
    timeout -k 5 $((left < most ? left : most)) "$@" > "$work/$name.log" 2>&1 &
    child=$!
    if wait $child; then
        became "$name" "done in $((SECONDS - started)) s"
    else
        became "$name" "failed after $((SECONDS - started)) s, see $work/$name.log"
        failed=1
    fi
    child=
}

command=("$python" -m featdepth_ros.cli.main)
train=("${command[@]}" train --config recording --device "$device")
with_reference=()
[ -z "$reference" ] || with_reference=(--reference "$reference")
if [ "$device" = cuda ]; then
    size=192x640 large=320x1024 frames=60 steps=10 depth_net=mono_fm_r50 pictures=96 nets=()
else
    export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
    size=64x192 large=64x96 frames=8 steps=1 depth_net=mono_fm_r18 pictures=12 nets=(--net compact --net mono_fm_r18)
fi

part parity "$python" -m featdepth_training.bench.parity --device "$device" --size "$large" "${nets[@]}" \
    --json "$output/parity.json"
part network "${command[@]}" bench network --device "$device" --size "$size" --frames "$frames" --backend torch \
    --json "$output/network.json"
part estimator "${command[@]}" bench estimator --device "$device" --size "$size" --frames "$frames" --backend torch \
    --json "$output/estimator.json"
part drive "${command[@]}" simulate --output "$work/drive" --frames "$pictures" --size "$size"
part cache "${command[@]}" prepare "$work/drive" --output "$work/cache" --size "$size"
settings=("data.prepared.caches=['$work/cache']" data.workers=0 model.initial=none model.frozen_blocks=0
    objective.features=0 engine.tensorboard=false engine.checkpoint_every=2 engine.validate_every=4 engine.log_every=1
    "stages=[{steps: 4, sizes: [[64, 96]], batch_size: 1}]")
part straight "${train[@]}" --output "$work/straight" "${settings[@]}"
part resumed "${train[@]}" --output "$work/resumed" --resume "$work/straight/checkpoints/step_00000002.pt" \
    "${settings[@]}"
if [ "$device" = cuda ]; then
    part step "${command[@]}" bench step --device "$device" --architecture "$depth_net" --size "$size" \
        --steps "$steps" "${with_reference[@]}" --json "$output/step.json"
    part loader "${command[@]}" bench loader --device "$device" --architecture "$depth_net" --size "$size" \
        --steps "$steps" --cache "$work/cache" --json "$output/loader.json"
else
    for name in step loader; do became $name "not run on a CPU"; done
fi
exit $failed
