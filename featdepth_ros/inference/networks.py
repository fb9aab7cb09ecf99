"""The networks as the estimator drives them, whichever back end computes them. What leaves this module is fp32."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.device import resolve_device
from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.transfers import HostCopy
from featdepth_ros.inference.backends.base import Backend
from featdepth_ros.inference.backends.cache import Cache, cache_of, default_folder
from featdepth_ros.inference.backends.choice import BackendChoice, FixedBackend
from featdepth_ros.inference.backends.files import NetworkFile
from featdepth_ros.inference.backends.pytorch import TorchBackend, resolve_precision
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.foreign.network import ForeignFile
from featdepth_ros.inference.frame import EncodedFrame, Encoding, RectifiedFrame
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo


def fitting_size(info: ModelInfo, width: int, height: int) -> tuple[int, int]:
    """Choose the size at which the networks see images of ``width`` x ``height``.

    The compact model takes any size. It gets about as many pixels as it was trained with, in the image's own aspect,
    because it was trained with nearly square pixels. Published architectures keep the size of their training.

    Returns:
        (height, width), multiples of 32.
    """
    if info.architecture != "compact":
        return info.input_size
    pixels = info.input_size[0] * info.input_size[1]
    rows = max(32, 32 * round(math.sqrt(pixels * height / width) / 32))
    columns = max(32, 32 * round(rows * width / height / 32))
    return rows, columns


@dataclass(frozen=True, eq=False)
class Observation:
    """What a back end made of one image, and the image, should another back end have to see it as well."""

    backend: Backend
    image: Tensor
    content: Any


class Networks:
    """One model on one device, computed by a back end.

    An `observe` result is opaque: it holds what the depth and pose nets need of one frame. So each frame is encoded
    once where the model shares its encoder.

    Args:
        model: as `load_networks` returns it; put into eval mode, otherwise left alone: the networks run on a copy.
        device: see `device.resolve_device`.
        precision: see `resolve_precision`.
        backend: ``auto``, ``torch``, ``onnxruntime``, ``openvino`` or ``tensorrt``.
        cache: where files of back ends are kept; None: `default_folder`.

    Attributes:
        info: of the weights.
        device: where they run.
        has_pose: whether there is a pose network.
        is_foreign: whether this is a depth network of others.
        gives_inverse_depth: its inverse depth is right up to a scale and a shift, which the window solves.

    Raises:
        FeatDepthError: the model has no depth net.
        ConfigError: the precision is not to be had.
        MissingDependencyError: the back end's packages are not installed.
    """

    def __init__(
        self,
        model: FeatDepthModel | NetworkFile,
        device: torch.device,
        precision: str,
        backend: str = "torch",
        cache: Cache | None = None,
    ) -> None:
        self.info = model.info
        self.device = device
        self._wishes = (precision, backend, cache or Cache(default_folder()))
        self._nets = frozenset() if not isinstance(model, FeatDepthModel) else frozenset(model.nets)
        self._file: NetworkFile | None = None
        self._thread: ThreadPoolExecutor | None = None
        self.is_foreign = self.gives_inverse_depth = False
        self._choice: BackendChoice | FixedBackend
        if not isinstance(model, FeatDepthModel):
            self._file = model
            self._choice = FixedBackend(model.open(device, precision, backend))
            self.has_pose = self._choice.current.has_pose
            self.is_foreign = isinstance(model, ForeignFile)
            self.gives_inverse_depth = isinstance(model, ForeignFile) and model.kind == "inverse_depth"
            return
        if "depth" not in model.nets:
            raise FeatDepthError(
                f"the weights '{model.info.name}' ({model.info.architecture}) hold no depth net; an estimator needs one"
            )
        resolved = resolve_precision(precision, device, model.info.architecture)
        first = TorchBackend(model, device, resolved)
        self._choice = BackendChoice(model, first, device, *self._wishes)
        self.has_pose = first.has_pose

    @property
    def backend(self) -> str:
        """Name of the back end that computes now."""
        return self._choice.current.name

    @property
    def precision(self) -> str:
        """What the networks compute in."""
        return self._choice.current.precision

    @property
    def note(self) -> str:
        """What a user should know of the choice of the back end, or an empty string."""
        return self._choice.note

    def why_not(self, info: ModelInfo, nets: Iterable[str] | None = None) -> str:
        """Return why other weights cannot take the place of these while images flow; empty: they can.

        Args:
            info: of the other weights.
            nets: which networks they hold; None: not known yet.
        """
        own = self.info
        if self._file is not None:
            return f"'{own.name}' is a network file, whose weights are fixed; set the parameter before configure"
        facts = (
            ("of the architecture", own.architecture, info.architecture),
            ("for pictures of (height, width)", own.input_size, info.input_size),
            ("for pose pictures of (height, width)", own.pose_input_size, info.pose_input_size),
            ("of the scale", own.scale_kind, info.scale_kind),
            ("with the networks", sorted(self._nets), sorted(self._nets if nets is None else nets)),
        )
        for what, expected, given in facts:
            if given != expected:
                return f"they are {what} {given}, and those in force {what} {expected}"
        return ""

    def successor(self, model: FeatDepthModel) -> Networks:
        """Return networks of other weights, ready to take the place of these: same device, precision and back end.

        Where a faster back end computes these, it is built for the others too, in a process of its own. That takes a
        minute; call it beside the thread that computes.

        Raises:
            FeatDepthError: the weights cannot take this place; the message says why.
        """
        reason = self.why_not(model.info, model.nets)
        if reason:
            raise FeatDepthError(reason)
        made = Networks(model, self.device, *self._wishes)
        made._choice.follow(self._choice)
        return made

    def become(self, successor: Networks) -> None:
        """Compute with other weights from the next image on; whoever holds these networks follows."""
        self.info, self._choice = successor.info, successor._choice

    def size_for(self, width: int, height: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """Choose the size (height, width) for images of ``width`` x ``height``; ``wanted`` is the user's wish.

        Raises:
            ConfigError: the networks are a file of another size than ``wanted``.
        """
        if self._file is not None:
            return self._file.size_for(width, height, wanted)
        return wanted or fitting_size(self.info, width, height)

    def evaluation_size(self, width: int, height: int) -> tuple[int, int]:
        """Choose the size for pictures of data sets: that of training, whatever their aspect, or the file's own."""
        return self.info.input_size if self._file is None else self._file.size_for(width, height, None)

    @torch.inference_mode()
    def depth(self, images: Tensor) -> Tensor:
        """Depth of pictures that need no motion.

        Args:
            images: (B, 3, h, w) float32 RGB in [0, 1], on any device.

        Returns:
            (B, 1, h', w') float32 in network units, on the processor.
        """
        backend = self._choice.current
        return backend.depth(backend.observe(images.to(self.device))).cpu()

    def build_backend(self, size: tuple[int, int], frames: int) -> None:
        """Settle the back end for images of ``size`` now, rather than beside PyTorch; see `BackendChoice.settle`."""
        self._choice.settle(size, frames)

    def encode(self, frame: RectifiedFrame) -> EncodedFrame:
        """Return a frame with what the networks say of it alone."""
        return self.encode_all([frame])[0]

    def encode_all(self, frames: Sequence[RectifiedFrame]) -> list[EncodedFrame]:
        """Return frames, of one camera or several, with what the networks say of each.

        Frames of one size go through in one forward pass.
        """
        encodings = self._encodings(frames)
        return [EncodedFrame(frame, partial(encodings.__getitem__, place)) for place, frame in enumerate(frames)]

    def encode_ahead(self, frames: Sequence[RectifiedFrame]) -> list[EncodedFrame]:
        """As `encode_all`, in a thread of its own: tracks need no depth, and go on beside the networks.

        What the networks raise is raised to whoever asks for their results.
        """
        coming = self._own_thread().submit(self._encodings, frames)
        return [EncodedFrame(frame, partial(_one_of, coming, place)) for place, frame in enumerate(frames)]

    def motion_ahead(
        self, earlier: EncodedFrame, later: EncodedFrame, camera: CameraModel | None, ratio: float
    ) -> Future[tuple[Tensor, Tensor]]:
        """As `motion`, in the thread of `encode_ahead`, where it follows as soon as the later frame is encoded."""

        @torch.inference_mode()
        def measure() -> tuple[Tensor, Tensor]:
            return self.motion(earlier.observation, later.observation, camera, ratio)

        return self._own_thread().submit(measure)

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "networks")
        return self._thread

    @torch.inference_mode()
    def _encodings(self, frames: Sequence[RectifiedFrame]) -> list[Encoding]:
        started = time.perf_counter()
        seen: dict[int, tuple[Observation, HostCopy]] = {}
        sizes = [frame.size for frame in frames]
        for size in dict.fromkeys(sizes):
            places = [place for place, other in enumerate(sizes) if other == size]
            images = [frames[place].image for place in places]
            backend = self._choice.for_image(images[0])
            together = backend.observe(torch.cat(images) if len(images) > 1 else images[0])
            depth = backend.depth(together)
            for row, place in enumerate(places):
                content = backend.row(together, row) if len(places) > 1 else together
                observation = Observation(backend, images[row], content)
                seen[place] = observation, HostCopy(depth[row : row + 1])
        results = [(seen[place][0], seen[place][1].get()) for place in range(len(frames))]
        ms = (time.perf_counter() - started) * 1e3
        return [Encoding(observation, depth, ms) for observation, depth in results]

    def motion(
        self, earlier: Observation, later: Observation, camera: CameraModel | None, ratio: float
    ) -> tuple[Tensor, Tensor]:
        """Motion of the camera between two frames.

        Args:
            earlier: observation of the first frame.
            later: the same of the second.
            camera: pinhole camera of the observed images; None: the training camera.
            ratio: its focal length over the training camera's, see `inference.scale`.

        Returns:
            Axis-angle (3,) and translation (3,) of T_later_earlier, fp32 on the CPU; radians, units of the network's
            depth.
        """
        backend = later.backend
        # Where the back end changed between the two, the new one looks at the earlier image again.
        before = earlier.content if earlier.backend is backend else backend.observe(earlier.image)
        return backend.motion(before, later.content, camera, ratio)


def _one_of(coming: Future[list[Encoding]], place: int) -> Encoding:
    return coming.result()[place]


def networks_of(model: FeatDepthModel | NetworkFile, config: EstimatorConfig, device: str | None) -> Networks:
    """Return the networks as a configuration wants them; ``device`` as `resolve_device` takes it.

    Raises:
        FeatDepthError: see `Networks`.
    """
    return Networks(model, resolve_device(device), config.precision, config.backend, cache_of(config))
