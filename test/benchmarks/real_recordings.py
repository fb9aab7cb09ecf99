"""Metrics of weights on parts of real recordings without training data: depth, motion, and stability of the scale.

python test/benchmarks/real_recordings.py DATA [--weights W...] [--part last|validation] [--only NAME...] [--no-window]
                                          [--most N] [--json FILE] [--pictures FOLDER]

The part ``validation`` is for choices, with runs that do not train on it (`ablation`). The shipped weights were trained
on it, except for KITTI 03.

DATA holds the recordings below in their original layouts; missing ones are skipped.

- ``kitti_raw/2011_09_26/2011_09_26_drive_0001_sync``, last fifth: depth. The reference is semi-global matching of the
  stereo pair, where left-to-right and right-to-left agree (`stereo_depth`).
- ``seven_scenes_kitchen``, last fifth: depth, against the sensor.
- ``kitti_odometry/sequences/00`` (with ``poses.txt``), last fifth, and ``sequences/03``, frames 300 to 399 (the part
  ``validation``: 200 to 299): motion.
- The recordings in `WITHOUT_TRUTH`: photometric error of the next image, and stability of the scale.

``--pictures`` writes the best and the worst frame of each recording: image, estimate and, if available, ground truth.
``all`` shows all of them on one sheet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
from recording_figures import (
    Album,
    depth_figures,
    motion_figures,
    standing_figures,
    untrue_figures,
)

from featdepth_ros import load_model
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.reporting.tables import number, text_table, write_json

#: Begin and end of the parts of each recording, as shares of its frames.
PARTS = {"last": (0.8, 1.0), "validation": (0.6, 0.8)}
#: First and last frame of the parts of KITTI 03, of which fewer frames are used for training.
PARTS_03 = {"last": (300, 400), "validation": (200, 300)}
#: Focal length and centre of the colour camera of the 7-Scenes kitchen; the recording gives those of its depth camera.
SEVEN_SCENES_CAMERA = "525,525,320,240"


@dataclass(frozen=True)
class Untrue:
    """A recording without ground truth.

    Attributes:
        folder: folder in DATA.
        camera: fx, fy, cx, cy in pixels of its images.
        start, stop, step: range of the evaluated frames.
        rate_hz: frames per second of the recording.
    """

    folder: str
    camera: str
    start: int
    stop: int
    step: int = 1
    rate_hz: float = 10.0

    def frames(self, data: Path) -> list[Frame]:
        """Return the evaluated frames."""
        recording = open_recording(data / self.folder, camera=self.camera, rate_hz=self.rate_hz)
        return list(islice(recording, self.start, self.stop, self.step))


#: Recordings without ground truth, by name. The cameras of the last four are guesses. No recipe trains on the drive of
#: 91 frames; the recipe `compact_nc` now trains on that of 268.
WITHOUT_TRUTH = {
    "KITTI drive of 91": Untrue("kitti_raw_91_color/image_02", "481.0251,481.0251,406.373,115.236", 0, 91),
    "KITTI drive of 268": Untrue("kitti_raw_268_color/image_02", "481.0251,481.0251,406.373,115.236", 208, 268),
    "lab floor": Untrue("cmu_lab_realsense_200/rgb", "615,615,320,240", 20, 200, 3, 30.0),
    "highway": Untrue("california_highway_221/images", "750.75,748.8,435.5,251.55", 0, 180, 3, 25.0),
    "Boston": Untrue("nuscenes_boston_front_100/image", "655,655,427,250", 0, 53, 1, 2.0),
    "robot car": Untrue("raspberry_car_indoor_329/images", "400,400,320,240", 0, 60),
    "nano drone": Untrue("zurich_himax_gray_220/test_23", "190,190,162,122", 0, 60, 1, 5.0),
}


@dataclass(frozen=True)
class Judging:
    """Options of the evaluation.

    Attributes:
        part: a key of `PARTS`.
        motions: evaluated sources of motion: the pose network alone (``network``), and the window (``window``).
        most: largest number of evaluated frames for each recording without ground truth.
    """

    part: str = "last"
    motions: tuple[str, ...] = ("network", "window")
    most: int = 1000


def part_of(frames: list[Frame], part: str) -> list[Frame]:
    """Return the evaluated frames."""
    start, end = (round(len(frames) * share) for share in PARTS[part])
    return frames[start:end]


def _drive(data: Path, model: FeatDepthModel, how: Judging, album: Album | None) -> Figures:
    drive = data / "kitti_raw/2011_09_26/2011_09_26_drive_0001_sync"
    if drive.is_dir():
        every = list(open_recording(drive, partner="auto"))
        frames = part_of(every, how.part)
        yield "drive 0001 depth", depth_figures(model, frames, "garg", 80.0, "drive 0001", album)
        if "window" in how.motions:
            lead = every[: next(i for i, frame in enumerate(every) if frame is frames[0])]
            yield "drive 0001 fused", depth_figures(model, frames, "garg", 80.0, lead=lead)


def _kitchen(data: Path, model: FeatDepthModel, how: Judging, album: Album | None) -> Figures:
    kitchen = data / "seven_scenes_kitchen"
    if kitchen.is_dir():
        frames = part_of(list(open_recording(kitchen)), how.part)
        yield "7-Scenes depth", depth_figures(model, frames, "none", 10.0, "7-Scenes", album)
        if "window" in how.motions:
            every = list(open_recording(kitchen, camera=SEVEN_SCENES_CAMERA))
            start = next(i for i, frame in enumerate(every) if frame.stamp_ns == frames[0].stamp_ns)
            judged = every[start : start + len(frames)]
            yield "7-Scenes fused", depth_figures(model, judged, "none", 10.0, lead=every[:start])


def _odometry(data: Path, model: FeatDepthModel, how: Judging, album: Album | None) -> Figures:
    for sequence_number, named in (("00", "KITTI 00"), ("03", "KITTI 03")):
        sequence = data / f"kitti_odometry/sequences/{sequence_number}"
        if not sequence.is_dir():
            continue
        every = list(open_recording(sequence))
        frames = part_of(every, how.part) if sequence_number == "00" else every[slice(*PARTS_03[how.part])]
        names = {"network": f"{named} pose network", "window": f"{named} window"}
        for motion in how.motions:
            yield names[motion], motion_figures(model, frames, motion)
        if sequence_number == "00":
            yield "KITTI 00 standing", standing_figures(model, frames[0])
        yield f"{named} without truth of depth", untrue_figures(model, frames[: how.most], named, album)


def _untrue(data: Path, model: FeatDepthModel, how: Judging, album: Album | None) -> Figures:
    for name, recording in WITHOUT_TRUTH.items():
        if how.part == "last" and (data / recording.folder).is_dir():
            yield name, untrue_figures(model, recording.frames(data)[: how.most], name, album)


Figures = Iterator[tuple[str, dict[str, Any]]]
#: Groups of measurements, by their name for ``--only``.
GROUPS = {"drive": _drive, "kitchen": _kitchen, "odometry": _odometry, "untrue": _untrue}


def measure(
    data: Path,
    model: FeatDepthModel,
    how: Judging | None = None,
    only: Sequence[str] = tuple(GROUPS),
    album: Album | None = None,
) -> dict[str, dict[str, Any]]:
    """Return all metrics, by name.

    Args:
        data: folder of the recordings.
        model: model to evaluate.
        how: see `Judging`; None: its defaults.
        only: keys of `GROUPS`.
        album: album for images, see `depth_figures` and `untrue_figures`.
    """
    figures: dict[str, dict[str, Any]] = {}
    how = how or Judging()
    for name in only:
        for measured, values in GROUPS[name](data, model, how, album):
            figures[measured] = values
            print(f"{model.info.name}: {measured} {values}", file=sys.stderr, flush=True)
    return figures


def table_of(figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return a table with one row for each metric of each recording, and one column for each of the weights."""
    first = next(iter(figures.values()))
    rows = [
        [name, key, *(number(of.get(name, {}).get(key)) for of in figures.values())]
        for name, values in first.items()
        for key in values
    ]
    return text_table(["recording", "figure", *figures], rows)


def main() -> None:
    """Print a table with a column for each of the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", nargs="+", default=["compact-nc", "compact-open"])
    parser.add_argument("--part", choices=PARTS, default="last")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[*GROUPS])
    parser.add_argument("--no-window", action="store_true", help="skip the measurements that need the window")
    parser.add_argument(
        "--most", type=int, default=1000, help="largest number of frames for each recording without ground truth"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for the best and the worst frame of each recording")
    args = parser.parse_args()
    motions = ("network",) if args.no_window else ("network", "window")
    how = Judging(args.part, motions, args.most)
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for weights in args.weights:
        album = None if args.pictures is None else Album()
        figures[weights] = measure(args.data, load_model(weights), how, args.only, album)
        if album is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            for name, picture in {**album.pictures, "all": album.sheet()}.items():
                file = args.pictures / f"{Path(weights).stem}_{name.replace(' ', '_')}.jpg"
                cv2.imwrite(str(file), picture[..., ::-1])
        if args.json is not None:
            write_json(args.json, figures)
    print(table_of(figures))


if __name__ == "__main__":
    main()
