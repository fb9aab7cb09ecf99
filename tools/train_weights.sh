#!/usr/bin/env bash
# The weights that ship, from ImageNet on: prepares the recordings below DATA, then trains in stages, each with a recipe
# of config/train. Stopped, the same command goes on where it was.
#   tools/train_weights.sh DATA OUTPUT [key=value ...]     (values go to every stage: engine.threads=1, stages=...)
# DATA holds the recordings in their own layouts, as named below.
set -euo pipefail
data=$(realpath "$1") output=$2
shift 2
mkdir -p "$output"
output=$(realpath "$output")
caches=$output/caches
featdepth=${FEATDEPTH:-featdepth}

prepare() {  # NAME INPUT [options]
    local name=$1
    shift
    "$featdepth" prepare "$data/$1" --output "$caches/$name" --pseudo-depth "${@:2}"
}

train() {  # RECIPE OUTPUT START [settings]     (START: weights, or nothing for what the recipe names)
    local recipe=$1 run=$2 start=$3 begin=()
    shift 3
    if [ -f "$run/done" ]; then return; fi
    if compgen -G "$run/checkpoints/step_*.pt" > /dev/null; then
        begin=(--resume)
    elif [ -n "$start" ]; then
        begin=(--finetune "$start")
    fi
    "$featdepth" train --config "$recipe" --output "$run" "${begin[@]}" "$@"
    touch "$run/done"
}

prepare kitti_0001 kitti_raw/2011_09_26/2011_09_26_drive_0001_sync --stereo
prepare kitti_00 kitti_odometry/sequences/00
# 7-Scenes names the focal length of its depth camera, 585 pixels; that of its colour camera is a Kinect's, about 525.
colour=(--size 192x256 --camera 525,525,320,240)
prepare seven_scenes seven_scenes_kitchen "${colour[@]}"
# Neighbouring frames of a slow hand are a pixel apart: every third or so says more.
prepare seven_scenes_far seven_scenes_kitchen "${colour[@]}" --min-motion 0.015
prepare tum tum_freiburg1_rpy --size 192x256
euroc=euroc/V1_01_easy_static/mav0
prepare euroc_pairs euroc/V1_01_easy_pairs --size 224x352 --stereo \
    --camera "$data/$euroc/cam0/sensor.yaml" --partner-camera "$data/$euroc/cam1/sensor.yaml"

rendered=data.rendered.cache=$output/rendered
first=$output/first/model.safetensors
nc=$caches/kitti_0001,$caches/kitti_00,$caches/seven_scenes,$caches/seven_scenes_far,$caches/tum,$caches/euroc_pairs
train compact_rendered "$output/first" "" "data.rendered.cache=$output/rendered_first" "$@"
train compact_open "$output/open" "$first" "$rendered" "data.prepared.caches=[$caches/tum]" "$@"
train compact_nc "$output/second" "$first" "$rendered" "data.prepared.caches=[$nc]" "$@"
# At the end more of the recordings, at a lower rate.
train compact_nc "$output/third" "$output/second/model.safetensors" "$rendered" "data.prepared.caches=[$nc]" \
    optimiser.lr=2e-4 schedule.warmup_steps=10 engine.ema_decay=0.98 data.rendered_share=0.2 \
    "data.prepared.shares=[2, 3.5, 1, 4, 0.2, 0.5]" \
    "stages=[{steps: 150, sizes: [[192, 256], [128, 416]], batch_size: 8}]" "$@"
# Then more kinds of streets, harsher light, pairs instead of triplets, and the scale of KITTI 00 from the camera's height.
more=data.rendered.cache=$output/rendered_more
train compact_nc_more "$output/compact_nc" "$output/third/model.safetensors" "$more" "data.prepared.caches=[$nc]" "$@"
# Last with what matching finds in the recordings, for shape and edges.
train compact_nc_more "$output/compact_nc_matched" "$output/compact_nc/model.safetensors" "$more" "data.prepared.caches=[$nc]" \
    seed=6 objective.pseudo_depth=1 optimiser.lr=8e-4 schedule.warmup_steps=50 \
    "data.prepared.shares=[2, 3, 0.8, 2.5, 0.2, 1.2]" \
    "stages=[{steps: 250, sizes: [[96, 320], [96, 320], [128, 192]]}, {steps: 950, sizes: [[128, 416], [192, 256]]}]" "$@"
# And the pose head alone: with the depth as it is, the others' rate is as good as none.
train compact_nc_more "$output/compact_nc_pose" "$output/compact_nc_matched/model.safetensors" "$more" \
    "data.prepared.caches=[$nc]" seed=7 optimiser.lr=1e-9 optimiser.pose_lr_factor=4e5 schedule.warmup_steps=10 \
    data.rendered_share=0.25 "data.prepared.shares=[2, 5, 0.3, 1.5, 0.2, 0.3]" engine.ema_decay=0.96 \
    "stages=[{steps: 100, sizes: [[128, 416]]}]" "$@"
# All of it again on streets seen from one car, lanes between hedges among them; the end at a lower rate.
car=(data.rendered.camera_height_m=1.65 data.rendered.clips=1200 data.rendered.seed=8
    "data.rendered.cache=$output/rendered_car" "data.prepared.caches=[$nc]"
    "data.rendered.scenes=[street, avenue, lane, room, clutter, corridor]"
    "data.rendered.shares=[0.2, 0.15, 0.35, 0.2, 0.05, 0.05]" "data.prepared.shares=[2, 3, 0.8, 2.5, 0.2, 1.2]"
    objective.pseudo_depth=1 schedule.warmup_steps=30 engine.precision=bf16)
train compact_nc_more "$output/compact_nc_car" "$output/compact_nc_pose/model.safetensors" "${car[@]}" seed=8 \
    optimiser.lr=6e-4 "stages=[{steps: 1050, sizes: [[128, 416], [192, 256]]}]" "$@"
train compact_nc_more "$output/compact_nc_car_end" "$output/compact_nc_car/model.safetensors" "${car[@]}" seed=9 \
    optimiser.lr=4e-4 "stages=[{steps: 700, sizes: [[128, 416], [192, 256]]}]" "$@"
echo "weights: $output/open/model.safetensors, $output/compact_nc_car_end/model.safetensors"
