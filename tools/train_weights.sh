#!/usr/bin/env bash
# Trains the two weights from those of ImageNet: prepares the recordings in DATA, then trains three recipes of
# config/train, and writes compact-open.safetensors and compact-nc.safetensors. After an interruption, the same command
# continues. It takes about nine hours of one core (docs/training.md).
#   tools/train_weights.sh DATA OUTPUT [key=value ...]     (settings for every recipe: engine.threads=1, stages=...)
# DATA holds the recordings in their original layouts, with the names below.
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

train() {  # RECIPE OUTPUT [options and settings]
    if [ -f "$2/done" ]; then return; fi
    "$featdepth" train --config "$1" --output "$2" --resume auto "${@:3}"
    touch "$2/done"
}

prepare kitti_0001 kitti_raw/2011_09_26/2011_09_26_drive_0001_sync --stereo
prepare kitti_00 kitti_odometry/sequences/00
# Evaluation data is excluded: the later half of 03, and the colour frames that are also in 00.
prepare kitti_03 kitti_odometry/sequences/03 --frames 0:200
# The colour frames of 00 are laid out like KITTI's sequences, so that their poses are read as well.
sequence=$output/views/sequences/00
mkdir -p "$sequence"
ln -sfn "$data/kitti_00_color_416x128/image_2" "$sequence/image_2"
cp "$data/kitti_00_color_416x128/poses.txt" "$sequence/poses.txt"
echo "P2: 240.970 0 203.539 0 0 244.717 63.052 0 0 0 1 0" > "$sequence/calib.txt"
data=$output/views prepare kitti_00_color sequences/00 --size 128x416 --frames 160:1018
prepare kitti_268 kitti_raw_268_color/image_02 --rate 10 --camera 481.0251,481.0251,406.3729,115.236
# 7-Scenes gives the focal length of its depth camera, 585 pixels; the colour camera is a Kinect's, with about 525.
colour=(--size 192x256 --camera 525,525,320,240)
prepare seven_scenes seven_scenes_kitchen "${colour[@]}"
# Neighbouring frames of the slow hand-held camera differ by a pixel, so about every third frame is used as well.
prepare seven_scenes_far seven_scenes_kitchen "${colour[@]}" --min-motion 0.015
prepare tum tum_freiburg1_rpy --size 192x256
# A lab floor from a low robot. Its calibration is unknown; this is a typical one of the same camera model.
prepare lab cmu_lab_realsense_200/rgb --size 192x256 --camera 615,615,320,240 --rate 30
euroc=euroc/V1_01_easy_static/mav0
prepare euroc_pairs euroc/V1_01_easy_pairs --size 224x352 --stereo \
    --camera "$data/$euroc/cam0/sensor.yaml" --partner-camera "$data/$euroc/cam1/sensor.yaml"

start=(--finetune "$output/first/model.safetensors")
nc=$(printf "$caches/%s," kitti_0001 kitti_00 kitti_03 kitti_00_color kitti_268 \
    seven_scenes seven_scenes_far tum euroc_pairs lab)
train compact_rendered "$output/first" "data.rendered.cache=$output/rendered_first" "$@"
train compact_open "$output/open" "${start[@]}" "data.rendered.cache=$output/rendered_open" "data.prepared.caches=[$caches/tum,$caches/lab]" "$@"
train compact_nc "$output/nc" "${start[@]}" "data.rendered.cache=$output/rendered_nc" "data.prepared.caches=[${nc%,}]" "$@"
# The same recipe goes on from there, at half the rate and on the clips that compact_open rendered.
train compact_nc "$output/nc_more" --finetune "$output/nc/model.safetensors" seed=4 optimiser.lr=3.0e-4 \
    "data.rendered.cache=$output/rendered_open" \
    "data.rendered.shares=[0.17, 0.1, 0.1, 0.14, 0.05, 0.07, 0.13, 0.15, 0.05, 0.04]" \
    "data.prepared.caches=[${nc%,}]" \
    "stages=[{steps: 2000, sizes: [[128, 416], [192, 256]], batch_size: 8}]" "$@"
"$featdepth" weights import "$output/open/model.safetensors" "$output/compact-open.safetensors" --fp16
"$featdepth" weights import "$output/nc_more/model.safetensors" "$output/compact-nc.safetensors" --fp16
echo "weights: $output/compact-open.safetensors, $output/compact-nc.safetensors"
