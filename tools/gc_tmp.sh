#!/usr/bin/env bash
# What a machine with a GPU says of this package, within six minutes: parity of every net with the processor, times of
# networks, estimator and training step beside eager float32, a resume that must be equal to the bit, the loader beside
# the step. Writes OUTPUT/gpu_check.json and OUTPUT/gpu_check.md, a table for docs/results.md.
#   tools/gpu_check.sh [--device cuda|cpu] [--output DIR] [--reference CHECKOUT]
# cpu tries the script itself out, at sizes of no meaning. CHECKOUT is one of the original's, which is then measured too.
set -euo pipefail
device=cuda output=gpu_check reference=
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2 ;;
    --output) output=$2 ;;
    --reference) reference=$2 ;;
    *) sed -n '2,7p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
python=${PYTHON:-python3}
limit=${LIMIT_S:-360}
mkdir -p "$output"
output=$(realpath "$output")
rm -rf "$output/work" "$output"/*.json
mkdir "$output/work"
failed=0

# Runs a part within what is left of the time; its log lies in work/NAME.log, its figures in NAME.json.
part() {  # NAME COMMAND...
    local name=$1 started=$SECONDS left=$((limit - SECONDS))
    shift
    if [ $left -lt 5 ]; then
        echo "$name: left out, the time is over"
        failed=1
        return
    fi
    if /usr/bin/env time -f "%U+%S" -o "$output/work/$name.time" timeout -k 5 "$left" "$@" > "$output/work/$name.log" 2>&1; then
        echo "$name: done in $((SECONDS - started)) s"
    else
        echo "$name: failed after $((SECONDS - started)) s, see $output/work/$name.log"
        failed=1
    fi
}


if [ "$device" = cuda ]; then
    size=192x640 large=320x1024 frames=60 steps=10 depth_net=mono_fm_r50 pictures=96
else
    size=64x192 large=64x96 frames=8 steps=1 depth_net=mono_fm_r18 pictures=12
fi
with_reference=()
[ -z "$reference" ] || with_reference=(--reference "$reference")
work=$output/work
command=("$python" -m featdepth_ros.cli.main)

part parity "$python" -m featdepth_training.bench.parity --device "$device" --size "$large" --json "$output/parity.json"
part network "${command[@]}" bench network --device "$device" --size "$size" --frames "$frames" --backend torch \
    --json "$output/network.json"
part estimator "${command[@]}" bench estimator --device "$device" --size "$size" --frames "$frames" --backend torch \
    --json "$output/estimator.json"
part step "${command[@]}" bench step --device "$device" --architecture "$depth_net" --size "$size" --steps "$steps" \
    "${with_reference[@]}" --json "$output/step.json"
part drive "${command[@]}" simulate --output "$work/drive" --frames "$pictures" --size "$size"
part cache "${command[@]}" prepare "$work/drive" --output "$work/cache" --size "$size"
part loader "${command[@]}" bench loader --device "$device" --architecture "$depth_net" --size "$size" \
    --steps "$steps" --cache "$work/cache" --json "$output/loader.json"
train=("${command[@]}" train --config recording --device "$device")
settings=("data.prepared.caches=['$work/cache']" data.workers=0 model.initial=none model.frozen_blocks=0
    objective.features=0 engine.tensorboard=false engine.checkpoint_every=2 engine.validate_every=4 engine.log_every=1
    "stages=[{steps: 4, sizes: [[64, 96]], batch_size: 1}]")
part straight "${train[@]}" --output "$work/straight" "${settings[@]}"
part resumed "${train[@]}" --output "$work/resumed" --resume "$work/straight/checkpoints/step_00000002.pt" "${settings[@]}"
"$python" -m featdepth_training.bench.gpu_report "$output" "$device" || failed=1
exit $failed
