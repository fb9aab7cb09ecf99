"""The networks of the estimator, independent of the back end. All results of this module are fp32."""

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
    """Return the input size of the networks for images of ``width`` x ``height``.

    The compact model takes any size. It gets about as many pixels as in the training, in the aspect ratio of the image,
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
    """A back end's observation of one image, and the image, in case another back end must encode it, too."""

    backend: Backend
    image: Tensor
    content: Any


class Networks:
    """One model on one device, computed by a back end.

    An observation is opaque: it holds the encoding of one frame for the depth and pose networks. So a frame is encoded
    once if the model shares its encoder.

    Args:
        model: result of `load_networks`, which is set to eval mode; the networks run on a copy.
        device: see `device.resolve_device`.
        precision: see `resolve_precision`.
        backend: ``auto``, ``torch``, ``onnxruntime``, ``openvino`` or ``tensorrt``.
        cache: cache of the back ends' files; None: `default_folder`.

    Attributes:
        info: description of the weights.
        device: device of the networks.
        has_pose: whether there is a pose network.
        is_foreign: whether this is a third-party depth network.
        gives_inverse_depth: whether its inverse depth is known up to a scale and a shift, which the window estimates.

    Raises:
        FeatDepthError: the model has no depth network.
        ConfigError: the precision is not supported.
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
                f"the weights '{model.info.name}' ({model.info.architecture}) hold no depth network, which an "
                "estimator needs; choose others"
            )
        resolved = resolve_precision(precision, device, model.info.architecture)
        first = TorchBackend(model, device, resolved)
        self._choice = BackendChoice(model, first, device, *self._wishes)
        self.has_pose = first.has_pose

    @property
    def backend(self) -> str:
        """Name of the current back end."""
        return self._choice.current.name

    @property
    def precision(self) -> str:
        """Precision of the networks."""
        return self._choice.current.precision

    @property
    def note(self) -> str:
        """Note to the user about the choice of the back end; empty: there is none."""
        return self._choice.note

    def why_not(self, info: ModelInfo, nets: Iterable[str] | None = None) -> str:
        """Return why other weights cannot replace these at run time; empty: they can.

        Args:
            info: description of the other weights.
            nets: names of their networks; None: not known yet.
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
                return f"they are {what} {given}, and those in use {what} {expected}"
        return ""

    def successor(self, model: FeatDepthModel) -> Networks:
        """Return networks of other weights that can replace these, with the same device, precision and back end.

        If a faster back end computes these, it is also built for the others, in a separate process. That takes a
        minute, so call it in another thread than the one that computes.

        Raises:
            FeatDepthError: the weights cannot replace these; the message says why.
        """
        reason = self.why_not(model.info, model.nets)
        if reason:
            raise FeatDepthError(reason)
        made = Networks(model, self.device, *self._wishes)
        made._choice.follow(self._choice)
        return made

    def become(self, successor: Networks) -> None:
        """Use other weights from the next image on, for all owners of this object."""
        self.info, self._choice = successor.info, successor._choice

    def size_for(self, width: int, height: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """Return the input size (height, width) for images of ``width`` x ``height``; ``wanted`` has priority.

        Raises:
            ConfigError: the networks are a file with another size than ``wanted``.
        """
        if self._file is not None:
            return self._file.size_for(width, height, wanted)
        return wanted or fitting_size(self.info, width, height)

    def evaluation_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the input size for evaluation on datasets: the size of the training for any image, or of the file."""
        return self.info.input_size if self._file is None else self._file.size_for(width, height, None)

    @torch.inference_mode()
    def depth(self, images: Tensor) -> Tensor:
        """Return the depth of images, without motion.

        Args:
            images: (B, 3, h, w) float32 RGB in [0, 1], on any device.

        Returns:
            (B, 1, h', w') float32 in network units, on the processor.
        """
        backend = self._choice.current
        return backend.depth(backend.observe(images.to(self.device))).cpu()

    def build_backend(self, size: tuple[int, int], frames: int) -> None:
        """Choose the back end for images of ``size`` now instead of in the background; see `BackendChoice.settle`."""
        self._choice.settle(size, frames)

    def encode(self, frame: RectifiedFrame) -> EncodedFrame:
        """Return a frame with the networks' results for it alone."""
        return self.encode_all([frame])[0]

    def encode_all(self, frames: Sequence[RectifiedFrame]) -> list[EncodedFrame]:
        """Return frames of one or several cameras with the networks' results for each.

        Frames of the same size are processed in one forward pass.
        """
        encodings = self._encodings(frames)
        return [EncodedFrame(frame, partial(encodings.__getitem__, place)) for place, frame in enumerate(frames)]

    def encode_ahead(self, frames: Sequence[RectifiedFrame]) -> list[EncodedFrame]:
        """Return as `encode_all`, but compute in a separate thread, because tracking needs no depth.

        An exception of the networks is raised at the access to their results.
        """
        coming = self._own_thread().submit(self._encodings, frames)
        return [EncodedFrame(frame, partial(_one_of, coming, place)) for place, frame in enumerate(frames)]

    def motion_ahead(
        self, earlier: EncodedFrame, later: EncodedFrame, camera: CameraModel | None, ratio: float
    ) -> Future[tuple[Tensor, Tensor]]:
        """Return the future result of `motion`, computed in the thread of `encode_ahead` after the later frame."""

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
        """Return the motion of the camera between two frames.

        Args:
            earlier: observation of the first frame.
            later: observation of the second frame.
            camera: pinhole camera of the observed images; None: the training camera.
            ratio: focal length of the camera over that of the training camera, see `inference.scale`.

        Returns:
            Axis-angle (3,) and translation (3,) of T_later_earlier, fp32 on the CPU; radians, units of the network's
            depth.
        """
        backend = later.backend
        # If the back end changed in between, the new one must encode the earlier image again.
        before = earlier.content if earlier.backend is backend else backend.observe(earlier.image)
        return backend.motion(before, later.content, camera, ratio)


def _one_of(coming: Future[list[Encoding]], place: int) -> Encoding:
    return coming.result()[place]


def networks_of(model: FeatDepthModel | NetworkFile, config: EstimatorConfig, device: str | None) -> Networks:
    """Return the networks for a configuration; for ``device`` see `resolve_device`.

    Raises:
        FeatDepthError: see `Networks`.
    """
    return Networks(model, resolve_device(device), config.precision, config.backend, cache_of(config))
