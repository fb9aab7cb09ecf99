"""``featdepth bench network`` and ``estimator``: milliseconds per frame on every back end, against eager PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.device import resolve_device
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends.cache import Cache
from featdepth_ros.inference.backends.engines import usable
from featdepth_ros.inference.backends.pytorch import resolve_precision
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.estimator import Estimator
from featdepth_ros.inference.frame import EncodedFrame, Rectifier
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.options import DepthChoice, MotionChoice
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.threads import single_threaded_linear_algebra
from featdepth_training.bench.drawn import model_named, pictures
from featdepth_training.bench.measure import operations
from featdepth_training.bench.timing import in_turns, machine

EAGER = "eager fp32"
#: Settings with which the estimator is measured: source of motion, and kind of depth.
_CHAINS: tuple[tuple[MotionChoice, DepthChoice], ...] = (("window", "fused"), ("network", "network"))


def eager_step(model: FeatDepthModel, images: Sequence[Tensor]) -> Callable[[int], Any]:
    """Return a function for depth of a frame and motion since the previous one by the plain model in float32."""
    any_model: Any = model
    kept: dict[str, Any] = {}

    @torch.inference_mode()
    def step(number: int) -> None:
        image = images[number % len(images)]
        if hasattr(model, "encode"):
            maps = any_model.encode(image)
            coarse = any_model.coarse_depth(maps)
            any_model.depth_from_features(maps, coarse, all_scales=False)
            before = kept.get("frame", (maps, coarse))
            any_model.pose_from_features(before[0], maps, before[1], coarse)
            kept["frame"] = (maps, coarse)
            return
        model.depth(image)
        if "pose" in model.nets:
            size = model.info.pose_input_size
            later = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
            model.pose(kept.get("frame", later), later)
            kept["frame"] = later

    return step


def variants(device: torch.device, precisions: Sequence[str], backends: Sequence[str]) -> list[tuple[str, str]]:
    """Return (back end, precision) of all variants that can run here; ``backends`` empty: all installed ones."""
    return [
        (name, precision)
        for precision in precisions
        for name in ("torch", *usable(device, precision))
        if not backends or name in backends
    ]


def bench_network(
    weights: str,
    size: tuple[int, int] | None,
    threads: int,
    frames: int,
    *,
    preset: str | None = None,
    device: str = "cpu",
    precisions: Sequence[str] = ("fp32", "bf16"),
    backends: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Time depth and motion of a frame on every installed back end and on eager PyTorch, in alternation.

    Args:
        weights: file or name, see `model_named`.
        size: (height, width) in pixels; None: the size of the training.
        threads: threads of the networks.
        frames: timed frames per variant.
        preset: see `load_model`.
        device: ``cpu`` or ``cuda``.
        precisions: precisions to measure.
        backends: back ends to measure; empty: all installed ones.
        say: called with progress messages.

    Returns:
        ``variants`` by name with times and ``ratio`` (time of eager fp32 over that of the variant); ``floor_ms``;
        ``machine``; and the settings.

    Raises:
        FeatDepthError: the weights or the device do not exist.
    """
    torch.set_num_threads(threads)
    model, place = model_named(weights, preset), resolve_device(device)
    size = size or model.info.input_size
    images = [torch.from_numpy(p).permute(2, 0, 1)[None].float().to(place) / 255 for p in pictures(size)]
    eager = eager_step(model_named(weights, preset).to(place), images)
    calls: dict[str, Callable[[int], Any]] = {EAGER: _finished(eager, place)}
    used: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, precision in variants(place, precisions, backends):
            say(f"preparing {name} {precision}")
            networks = Networks(model, place, precision, name, Cache(Path(folder)))
            try:
                networks.build_backend(size, 1)
            except FeatDepthError as error:
                used[f"{name} {precision}"] = str(error)
                continue
            calls[f"{name} {precision}"] = _finished(_step(networks, size), place)
        say(f"timing {len(calls)} variants in alternation")
        times = in_turns(calls, frames)
    flops, _ = operations(lambda: eager(0))
    about = machine(device, threads)
    return {
        "weights": model.info.name,
        "architecture": model.info.architecture,
        "size": list(size),
        "rounds": frames,
        "auto_precision": resolve_precision("auto", place, model.info.architecture),
        "flops": flops,
        "floor_ms": flops / (1e6 * max(about["matmul_gflops"], about["conv_gflops"])),
        "variants": {name: {**t, "ratio": times[EAGER]["ms"]["p50"] / t["ms"]["p50"]} for name, t in times.items()},
        "refused": used,
        "machine": about,
    }


def _step(networks: Networks, size: tuple[int, int]) -> Callable[[int], Any]:
    height, width = size
    camera = CameraModel(width, height, 0.9 * width, 0.9 * width, (width - 1) / 2, (height - 1) / 2)
    rectifier = Rectifier(lambda _w, _h: size, networks.device)
    frames = [rectifier.rectify(picture, camera, i) for i, picture in enumerate(pictures(size))]
    kept: list[EncodedFrame] = []

    @torch.inference_mode()
    def step(number: int) -> None:
        frame = networks.encode(frames[number % len(frames)])
        if networks.has_pose:
            before = kept[0] if kept else frame
            networks.motion(before.observation, frame.observation, camera, 1.0)
        kept[:] = [frame]

    return step


def _finished(call: Callable[[int], Any], device: torch.device) -> Callable[[int], Any]:
    """Return a call that also waits for its work on a GPU."""

    def finished(number: int) -> None:
        call(number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return finished


def bench_estimator(
    weights: str,
    size: tuple[int, int] | None,
    threads: int,
    frames: int,
    *,
    preset: str | None = None,
    device: str = "cpu",
    precision: str = "auto",
    backends: Sequence[str] = (),
    image_size: tuple[int, int] = (375, 1242),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Time complete steps of the estimator on a rendered drive, per back end, with and without the window.

    Args:
        weights: as in `bench_network`.
        size: as in `bench_network`.
        threads: as in `bench_network`.
        frames: number of frames of the drive.
        preset: as in `bench_network`.
        device: as in `bench_network`.
        precision: precision of the estimator, see `EstimatorConfig`.
        backends: as in `bench_network`.
        image_size: (height, width) of the rendered images, pixels.
        say: called with progress messages.

    Returns:
        ``variants`` by name with times and ``stages_ms`` (medians); ``machine``; and the settings.
    """
    from featdepth_ros.simulation import Simulation, SimulationConfig, default_camera

    torch.set_num_threads(threads)
    single_threaded_linear_algebra()  # as in the node and in `infer`
    model, place = model_named(weights, preset), resolve_device(device)
    resolved = resolve_precision(precision, place, model.info.architecture)
    say("rendering")
    camera = default_camera(image_size[1], image_size[0])
    drive = list(Simulation(SimulationConfig(frames=frames, camera=camera, seed=8)))
    stages: dict[str, list[dict[str, float]]] = {}
    calls: dict[str, Callable[[int], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, _ in variants(place, [resolved], backends):
            for motion, depth in _CHAINS:
                options: dict[str, Any] = {"precision": resolved, "backend": name, "backend_cache": folder}
                config = EstimatorConfig(input_size=size, motion=motion, depth=depth, **options)
                estimator = Estimator(model, config, device=device)
                label = f"{name}, {motion}, {depth}"
                say(f"preparing {label}")
                estimator.build_backend((camera.width, camera.height), frames)
                stages[label] = []
                calls[label] = _estimating(estimator, drive, stages[label])
        times = in_turns(calls, frames - 4)
    return {
        "weights": model.info.name,
        "size": list(size or model.info.input_size),
        "image_size": list(image_size),
        "precision": resolved,
        "frames": frames,
        "variants": {
            name: {**t, "stages_ms": {s: float(np.median([m[s] for m in stages[name]])) for s in stages[name][-1]}}
            for name, t in times.items()
        },
        "machine": machine(device, threads),
    }


def _estimating(estimator: Estimator, drive: Sequence[Any], stages: list[dict[str, float]]) -> Callable[[int], Any]:
    def step(number: int) -> None:
        frame = drive[number % len(drive)]
        estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
        if number:
            stages.append(estimate.stage_ms)

    return step
