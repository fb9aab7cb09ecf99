"""Gain of the online learner on simulated live data, without ROS: AbsRel of held-out frames over CPU time.

python test/benchmarks/refinement/online_refinement.py [--places street room] [--minutes 20] [--json FILE] [KEY=VALUE]
python test/benchmarks/refinement/online_refinement.py --data DATA --places kitchen kitti ...

Rendered places differ from the training data in light, camera and texture. ``kitchen`` (7-Scenes) and ``kitti`` (drive
0001, with ground truth by semi-global matching) are real. Each recording is cut into segments in order of time, and
every fourth one is held out. A few segments are added before each round, as from a robot. Each generation that the
learner accepts is used at once, as by refine_node. It is measured on the held-out frames of the place, and on the start
domain, which is the validation part of the recipe ``compact_open``. ``--minutes`` is CPU time, KEY is a setting of
`OnlineConfig`.

The table gives AbsRel, median scaled and unscaled, beside that of the initial weights.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.buffer.segments import OpenSegment
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import text_table, write_json
from featdepth_ros.simulation.camera_path import CameraPath, Motion
from featdepth_ros.simulation.render.camera_effects import CameraEffects
from featdepth_ros.simulation.render.renderer import Renderer
from featdepth_ros.simulation.render.shapes import ABOVE, SHADOW, SUN_COLOUR
from featdepth_ros.simulation.simulate import make_scene
from featdepth_ros.simulation.trajectories import DriveStyle, HandStyle
from featdepth_training.config.loading import from_overrides, load_config
from featdepth_training.data.clip import Clip
from featdepth_training.data.samples import ClipDataset, validation_batches
from featdepth_training.data.source import Source
from featdepth_training.prepare.pseudo_depth import grey, stereo_depth
from featdepth_training.prepare.rectify import Rectifier
from featdepth_training.refine.config import FRAMES
from featdepth_training.refine.figures import measure
from featdepth_training.refine.gate import HeldOutFigures
from featdepth_training.refine.online.buffer import Portion
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.exchange import write_json as write_shared
from featdepth_training.refine.online.learner import Learner
from featdepth_training.refine.online.round import judging_plan
from featdepth_training.refine.steps import start_model
from featdepth_training.rendering.rendered import VALIDATION_SCENES, ClipRenderer

#: Frames per segment; interval of held-out segments; number of new segments before each round.
SEGMENT, EVERY, FRESH = 12, 4, 4
#: Size of the networks' input for the places (height, width).
WIDE, TALL = (96, 320), (128, 192)


@dataclass(frozen=True)
class Look:
    """Settings of a rendered place that differs from the training data of the weights.

    Attributes:
        scene, seed: kind and seed of the scene, whose textures are shuffled.
        size: (height, width) of the images, pixels.
        focal: focal length as a share of the width (those of the recipe are 0.42 to 0.97).
        sun, ambient: factors on the light.
        effects: camera effects.
        driving: style of the motion, for scenes with a road.
        rate_hz: frames per second.
        frames: number of frames in the recording.
    """

    scene: str
    seed: int
    size: tuple[int, int]
    focal: float
    sun: float
    ambient: float
    effects: CameraEffects
    driving: DriveStyle = DriveStyle()
    rate_hz: float = 10.0
    frames: int = 192


LOOKS = {
    "street": Look(
        "street", 71, WIDE, 0.40, 2.0, 0.55,
        CameraEffects(exposure=0.9, gamma=1.15, cast=(1.15, 0.97, 0.8), vignette=0.4, noise=0.01),
        DriveStyle(speed_mps=(2.0, 4.0), height_m=0.8, pitch_rad=0.1),
    ),
    "room": Look(
        "room", 72, TALL, 0.9, 0.7, 0.8,
        CameraEffects(exposure=1.3, gamma=1.1, cast=(1.15, 0.95, 0.8), vignette=0.4, noise=0.01), rate_hz=5.0,
    ),
}  # fmt: skip


def rendered(look: Look) -> list[Clip]:
    """Render the place as clips of one frame each."""
    height, width = look.size
    focal = look.focal * width
    camera = CameraModel(width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5)
    seconds = np.arange(look.frames) / look.rate_hz
    scene = make_scene(look.scene, look.seed, 200.0 + look.driving.speed_mps[1] * float(seconds[-1]))
    data, rng = scene.data, np.random.default_rng(look.seed)
    numbers = data.numbers.copy()
    numbers[SUN_COLOUR:ABOVE] *= look.sun
    numbers[ABOVE:SHADOW] *= look.ambient
    atlas = np.ascontiguousarray(data.atlas[rng.permutation(len(data.atlas))])
    scene = replace(scene, data=data._replace(atlas=atlas, numbers=numbers))
    poses = CameraPath(scene, look.driving, HandStyle(), look.seed, Motion()).poses(seconds)
    renderer, clips = Renderer(scene, camera), []
    for index, pose in enumerate(poses):
        image, depth = renderer.render(pose)
        truth = np.where(np.isnan(depth), np.inf, np.minimum(depth, 1000.0)).astype(np.float32)
        seen = look.effects.apply(image, depth, index)
        clips.append(_frame(seen, truth, pose, camera, int(seconds[index] * 1e9)))
    return clips


def _frame(
    image: NDArray[np.uint8], depth: NDArray[np.float32] | None, pose: NDArray[np.float64], camera: Any, stamp_ns: int
) -> Clip:
    numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
    known = None if depth is None else depth[None]
    return Clip(image[None], known, pose[None], numbers, stamps_ns=np.array([stamp_ns + 1_000_000_000]))


def recorded(folder: Path, size: tuple[int, int], stereo: bool) -> list[Clip]:
    """Read a real recording at the networks' size, with ground truth from its sensor or from stereo matching."""
    rectify, clips = Rectifier(size, False), []
    for frame in open_recording(folder, partner="auto" if stereo else None):
        camera, depth = frame.camera, frame.depth
        assert camera is not None
        if stereo:
            assert frame.partner is not None
            numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
            pair = grey(frame.image), grey(frame.partner.image)
            depth = stereo_depth(*pair, numbers, frame.partner.T_partner_camera)
        assert depth is not None
        stored = rectify(replace(frame, depth=depth), camera)
        assert stored.depth is not None
        truth = np.where(stored.depth > 0, stored.depth, np.nan).astype(np.float32)
        pose = np.full((4, 4), np.nan) if stored.pose is None else stored.pose
        stamps = np.array([frame.stamp_ns])
        clips.append(Clip(stored.image[None], truth[None], pose[None], stored.camera, stamps_ns=stamps))
    return clips


def write_segment(buffer: Path, frames: Sequence[Clip], held_out: bool) -> None:
    """Write one segment as the node does, with true poses, which serve its selection but not the training."""
    height, width = frames[0].images.shape[1:3]
    camera = CameraModel(width, height, *frames[0].camera.tolist())
    buffer.mkdir(exist_ok=True)
    stamps = [int(frame.stamps_ns[0]) for frame in frames]
    segment = OpenSegment(buffer / f"{stamps[0]:020d}", "held_out" if held_out else "train", camera, metric=True)
    for stamp, frame in zip(stamps, frames, strict=True):
        segment.add(frame.images[0], stamp, frame.poses[0] if np.isfinite(frame.poses).all() else None)
    segment.finish()


def triples(segments: Sequence[Sequence[Clip]]) -> list[Clip]:
    """Return every second clip of three neighbouring frames, with ground truth."""
    clips = []
    for frames in segments:
        for first in range(0, len(frames) - FRAMES + 1, 2):
            three = frames[first : first + FRAMES]
            depths = [clip.depth for clip in three if clip.depth is not None]
            clips.append(
                Clip(
                    np.concatenate([clip.images for clip in three]),
                    np.concatenate(depths) if len(depths) == FRAMES else None,
                    np.concatenate([clip.poses for clip in three]),
                    three[0].camera,
                )
            )
    return clips


def start_domain(count: int) -> list[Clip]:
    """Return clips of the weights' recipe, from scenes that are in neither the training nor a place."""
    config = load_config("compact_open").data.rendered
    clips: list[Clip] = []
    for kind, share in zip(config.scenes, config.shares, strict=True):
        renderer = ClipRenderer(config, kind, 0, VALIDATION_SCENES)
        clips += [renderer(index) for index in range(max(round(count * share), 1))]
    return clips


def figures(model: FeatDepthModel, clips: Sequence[Clip], size: tuple[int, int]) -> HeldOutFigures:
    """Return the metrics of weights on clips with ground truth."""
    sources = [Source("measured", [clip], 1.0, True, clip.images.shape[1:3]) for clip in clips]  # type: ignore[arg-type]
    plan = judging_plan(model, Portion(sources, size, (1, 1, 1, 1)), OnlineConfig())
    dataset = ClipDataset(sources, plan.data.sequence, None, 0)
    return measure(model, (batch.in_floats() for batch in validation_batches(dataset, [size], 1)), plan)[0]


def live(
    name: str, place: list[Clip], start: list[Clip], weights: str, config: OnlineConfig, minutes: float, work: Path
) -> list[dict[str, Any]]:
    """Feed a place to a learner; return the metrics over CPU time, beginning with those of the initial weights."""
    size: tuple[int, int] = place[0].images.shape[1:3]  # type: ignore[assignment]
    segments = [place[k : k + SEGMENT] for k in range(0, len(place) - SEGMENT + 1, SEGMENT)]
    # A held-out segment comes early, because the first round needs one for its evaluation.
    held = [k % EVERY == 1 for k in range(len(segments))]
    judged = triples([frames for frames, out in zip(segments, held, strict=True) if out])
    work.mkdir(parents=True, exist_ok=True)
    learner = Learner(work, weights, config, torch.device("cpu"), budget=1e9)
    rows: list[dict[str, Any]] = []
    spent, current, waiting = 0.0, weights, list(zip(segments, held, strict=True))

    def add(model: FeatDepthModel, generation: int) -> None:
        there, before = figures(model, judged, size), figures(model, start, WIDE)
        row = {"place": name, "generation": generation, "processor_min": spent / 60, "photometric": there.photometric}
        row |= {"abs_rel": there.abs_rel_median_scaled, "abs_rel_as_is": there.abs_rel, "a1": there.a1_median_scaled}
        row |= {"start_abs_rel": before.abs_rel_median_scaled, "start_as_is": before.abs_rel}
        rows.append(row)
        print(json.dumps(row), flush=True)

    add(start_model(weights), 0)
    idle = 0
    while spent < 60 * minutes and idle < 3:
        for _ in range(min(FRESH, len(waiting))):
            write_segment(work / "buffer", *waiting.pop(0))
        began = time.process_time()
        finished = learner.turn()
        spent += time.process_time() - began
        idle = 0 if finished or waiting else idle + 1
        newest = learner._generations.newest() or 0
        if finished:
            evidence = learner._generations.evidence(newest)
            told = {key: evidence.get(key) for key in ("accepted", "reasons", "scale_ratio", "depth_change", "lr")}
            print(json.dumps({"generation": newest, "processor_min": spent / 60, **told}), flush=True)
            if evidence["accepted"]:
                current = str(learner._generations.weights(newest))
                write_shared(work / "control.json", {"run": True, "current": current, "budget": 1e9, "watch": None})
                add(start_model(current), newest)
    return rows


def main() -> None:
    """Parse the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", nargs="+", choices=[*LOOKS, "kitchen", "kitti"], default=["street", "room"])
    parser.add_argument("--data", type=Path, help="folder of the real recordings")
    parser.add_argument("--weights", default="compact-open")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--start-clips", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    config = from_overrides(OnlineConfig, ["patience_s=0", *args.settings])
    start, rows = start_domain(args.start_clips), []
    for name in args.places:
        if name in LOOKS:
            place = rendered(LOOKS[name])
        elif name == "kitchen":
            place = recorded(args.data / "seven_scenes_kitchen", TALL, False)
        else:
            place = recorded(args.data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync", WIDE, True)
        with tempfile.TemporaryDirectory() as work:
            rows += live(name, place, start, args.weights, config, args.minutes, Path(work))
    names = list(rows[0])
    print(text_table(names, [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]))
    if args.json:
        write_json(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
