"""Errors of every network on a device and in a precision, against the CPU in float32.

`python -m featdepth_training.bench.parity`; tools/gpu_check.sh calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.cli.support.arguments import image_size
from featdepth_ros.device import resolve_device
from featdepth_ros.export.parity import SMALLEST_MOTION
from featdepth_ros.inference.backends.pytorch import TorchBackend
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.reporting.tables import write_json
from featdepth_training.bench.drawn import model_named, pictures

HALF = ("bf16", "fp16")
#: The shipped compact model, and architectures with random weights.
NETS = ("compact", "mono_fm_r18", "mono_fm_r50")
#: Errors by network, precision and output.
Errors = dict[str, dict[str, dict[str, float]]]


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Return the precisions to compare on a device. On GPUs, tf32 computes products with a mantissa of ten bits."""
    return ("fp32", "tf32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16")


def compare(
    size: tuple[int, int],
    device: torch.device,
    names: Sequence[str] = NETS,
    say: Callable[[str], None] = print,
    keep: Callable[[Errors], None] = lambda _: None,
) -> Errors:
    """Compare depth, motion and features of networks on a device with those on the CPU.

    Args:
        size: (height, width) of the images, pixels.
        device: device to compare with the CPU.
        names: names of the networks.
        say: called with a line for each comparison.
        keep: called after each comparison with all errors so far, so that they are saved if the process is killed.

    Returns:
        Errors by architecture and precision. That of ``disparity`` is the largest relative error. That of
        ``inverse depth`` is the root mean square of the relative error. Those of ``axisangle`` and ``translation`` are
        relative errors of the vectors. That of ``features`` is the largest error over the largest value. In half
        precision, the outputs are those of the back end that the estimator uses.
    """
    earlier, later = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in pictures(size)[:2])
    errors: Errors = {}
    for name in names:
        model = model_named(name)
        expected = _outputs(model, earlier, later)
        errors[name] = {}
        for precision in precisions_of(device):
            if precision in HALF:
                given = _served(TorchBackend(model, device, precision), earlier.to(device), later.to(device))
            else:
                with _tf32(precision == "tf32"):
                    given = _outputs(copy.deepcopy(model).to(device), earlier.to(device), later.to(device))
            errors[name][precision] = {key: _error(key, expected[key], value) for key, value in given.items()}
            say(f"{name} {precision}: " + ", ".join(f"{k} {v:.1e}" for k, v in errors[name][precision].items()))
            keep(errors)
    return errors


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Enable or disable tf32 within a ``with`` block; it must be off for the comparison in fp32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@torch.inference_mode()
def _served(backend: TorchBackend, earlier: Tensor, later: Tensor) -> dict[str, Tensor]:
    """Return the outputs of a back end in half precision, with inverse depth instead of the disparity."""
    before, now = backend.observe(earlier), backend.observe(later)
    axisangle, translation = backend.motion(before, now, None, 1.0)
    depth = backend.depth(now).float().cpu()
    return {"inverse depth": 1.0 / depth, "axisangle": axisangle[None], "translation": translation[None]}


@torch.inference_mode()
def _outputs(model: FeatDepthModel, earlier: Tensor, later: Tensor) -> dict[str, Tensor]:
    pair = [earlier, later]
    if not hasattr(model, "encode"):  # as in `TorchBackend`
        size = model.info.pose_input_size
        pair = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in pair]
    axisangle, translation = model.pose(*pair)
    disparity = model.depth(later)[0]
    outputs = {
        "disparity": disparity,
        "inverse depth": 1.0 / model.info.depth_of(disparity.float()),
        "axisangle": axisangle,
        "translation": translation,
        "features": model.features(later),
    }
    return {key: value.float().cpu() for key, value in outputs.items()}


def _error(key: str, expected: Tensor, given: Tensor) -> float:
    difference = (given - expected).abs()
    if key == "disparity":
        return float((difference / expected).max())
    if key == "inverse depth":
        return float((difference / expected).square().mean().sqrt())
    if key == "features":
        return float(difference.max() / expected.abs().max())
    return float(difference.norm() / expected.norm().clamp_min(SMALLEST_MOTION[key]))


def main() -> int:
    """Parse the command line, compare, and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=image_size, default=(320, 1024))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--net", action="append", choices=NETS, default=[], help="only this network; repeatable")
    args = parser.parse_args()
    compare(args.size, resolve_device(args.device), args.net or NETS, keep=partial(write_json, args.json))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
