"""The files that `featdepth infer` writes. A few threads encode them while the networks run."""

from __future__ import annotations

import shutil
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.estimator import Estimator
from featdepth_ros.inference.types import Estimate
from featdepth_ros.messages.colours import SceneRange, depth_colours
from featdepth_ros.recordings import Frame, Recording
from featdepth_ros.recordings.datasets.pose_files import kitti_text, tum_text
from featdepth_ros.reporting.tables import write_json
from featdepth_ros.reporting.trajectory_files import COVARIANCE_FILE

#: Folders created at the start; `_SIGMA` is created with the first estimate that has a standard deviation.
_FOLDERS = ("depth", "valid", "preview")
_SIGMA = "sigma"
_FILES = ("trajectory.kitti.txt", "trajectory.tum.txt", COVARIANCE_FILE, "summary.json")

#: Number of encoder threads, and of frames that may wait for them, which bounds the memory.
_WORKERS, _WAITING = 2, 8


class InferOutput:
    """Collects the results of all frames and writes them. A context manager.

    Args:
        folder: output folder; it is created when it does not exist.
        overwrite: replace the results of an earlier run.

    Raises:
        FeatDepthError: the folder already holds results, or cannot be written.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        present = [name for name in (*_FOLDERS, _SIGMA, *_FILES) if (folder / name).exists()]
        if present and not overwrite:
            raise FeatDepthError(
                f"'{folder}' already holds results ({', '.join(present)}); choose another --output or add --overwrite"
            )
        try:
            for name in present:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for name in _FOLDERS:
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FeatDepthError(f"the output folder '{folder}' cannot be written: {error}") from error
        self._folder = folder
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._pending: deque[Future[None]] = deque()
        self._poses: list[tuple[int, NDArray[np.float64]]] = []
        self._covariances: list[NDArray[np.float64]] = []
        self._states: Counter[str] = Counter()
        self._last: Estimate | None = None
        self._calibrated = 0
        self._range = SceneRange()

    def __enter__(self) -> InferOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    @property
    def frames(self) -> int:
        """Frames added so far."""
        return len(self._poses)

    def add(self, frame: Frame, estimate: Estimate, estimator: Estimator) -> None:
        """Add the results of one frame. Raises FeatDepthError when earlier ones could not be written."""
        previous = self._poses[-1][1] if self._poses else np.eye(4)
        pose = se3.orthonormalised(previous @ estimate.motion.T_previous_current)
        self._poses.append((frame.stamp_ns, pose))
        self._covariances.append(estimate.motion.covariance)
        self._states[estimate.motion.state.value] += 1
        self._calibrated += frame.camera is not None
        self._last = estimate
        depth = estimator.to_delivered(estimate.finite_depth)
        valid = estimator.to_delivered(estimate.valid)
        sigma = _delivered_sigma(estimator, estimate, depth)
        span = self._range.update(np.clip(depth[::4, ::4], estimate.min_depth, estimate.max_depth))
        self._pending.append(self._pool.submit(self._write, frame, depth, valid, sigma, span))
        if len(self._pending) > _WAITING:
            self._wait_for_one()

    def _write(
        self,
        frame: Frame,
        depth: NDArray[np.float32],
        valid: NDArray[np.bool_],
        sigma: NDArray[np.float32] | None,
        span: tuple[float, float],
    ) -> None:
        np.save(self._folder / "depth" / f"{frame.name}.npy", depth)
        if sigma is not None:
            (self._folder / _SIGMA).mkdir(exist_ok=True)
            np.save(self._folder / _SIGMA / f"{frame.name}.npy", sigma)
        _write_png(self._folder / "valid" / f"{frame.name}.png", valid.astype(np.uint8) * 255)
        picture = np.concatenate([frame.image, depth_colours(depth, *span)], axis=0)
        _write_png(self._folder / "preview" / f"{frame.name}.png", np.ascontiguousarray(picture[:, :, ::-1]))

    def _wait_for_one(self) -> None:
        try:
            self._pending.popleft().result()
        except OSError as error:
            raise FeatDepthError(
                f"a result could not be written under '{self._folder}': {error}; the frames before it are complete"
            ) from error

    def finish_files(self) -> None:
        """Wait for the encoders, then write the trajectories and their covariances."""
        while self._pending:
            self._wait_for_one()
        stamps, poses = [stamp for stamp, _ in self._poses], [pose for _, pose in self._poses]
        tum = tum_text(stamps, poses, "stamp_s x y z qx qy qz qw (camera to world)")
        (self._folder / "trajectory.kitti.txt").write_text(kitti_text(poses, digits=9), encoding="utf-8")
        (self._folder / "trajectory.tum.txt").write_text(tum, encoding="utf-8")
        np.save(self._folder / COVARIANCE_FILE, np.stack(self._covariances))

    def summary(
        self, estimator: Estimator, recording: Recording, *, seconds: float, weights: str, source: str
    ) -> dict[str, Any]:
        """Write summary.json and return it."""
        assert self._last is not None
        scale = self._last.scale
        calibration = {0: "none; the training camera's field of view is assumed", self.frames: "known"}
        summary: dict[str, Any] = {
            "scale_kind": scale.kind,
            "scale_source": scale.source,
            "scale_factor": scale.factor,
            "scale_log_variance": scale.variance,
            "frames": self.frames,
            "skipped": [{"name": s.name, "reason": s.reason} for s in recording.skipped],
            "fps": self.frames / seconds,
            "seconds": seconds,
            "weights": weights,
            "model": estimator.info.name,
            "architecture": estimator.info.architecture,
            "licence": estimator.info.licence,
            "device": str(estimator.device),
            "precision": estimator.precision,
            "network_size": list(estimator.size),
            "input": source,
            "input_kind": recording.kind,
            "calibration": calibration.get(self._calibrated, "of some frames"),
            "depth": estimator.depth_source,
            "motion": estimator.motion_source,
            "backend": estimator.backend,
            "motion_states": dict(self._states),
            "notes": [*recording.notes, *estimator.notes, *_unmet(estimator)],
        }
        write_json(self._folder / "summary.json", summary)
        return summary


def _unmet(estimator: Estimator) -> list[str]:
    """Return a note for each requested source that was replaced, because the camera is not calibrated."""
    config = estimator.config
    asked = {"motion": (config.motion, estimator.motion_source), "depth": (config.depth, estimator.depth_source)}
    return [
        f"{name} '{wanted}' was requested and '{had}' was used: the window needs a calibrated camera, see --camera"
        for name, (wanted, had) in asked.items()
        if wanted in ("window", "fused") and had != wanted
    ]


def _delivered_sigma(
    estimator: Estimator, estimate: Estimate, depth: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Return the standard deviation of ``depth``, the estimate's depth on the delivered pixels; None without sigma.

    Depth is interpolated as inverse depth, so the standard deviation of inverse depth (sigma / depth^2) is, too.
    """
    if estimate.sigma is None:
        return None
    of_inverse = estimator.to_delivered(np.square(estimate.finite_depth) / estimate.sigma)
    return np.asarray(np.square(depth) / of_inverse, dtype=np.float32)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    # Level 1 is five times faster than the default and the file a tenth larger, which suits a preview.
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"OpenCV could not write {path}")
