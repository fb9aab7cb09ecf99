"""Settings of the objective, and the combinations the reference trains with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.geometry.warp import Convention, check_convention
from featdepth_ros.losses.smoothness import TinyMaps

ReconstructionTarget = Literal["area", "cascade", "direct"]
ReferenceKind = Literal["fm", "joint", "autoencoder", "baseline"]


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is added up, and how. The defaults are the paper's feature-metric training, done right.

    Attributes:
        frame_ids: the target 0, then the sources: frame offsets, and ``"s"`` for the other camera of a stereo pair.
        scales: the decoder's scales that are trained; 0 is the finest.
        min_depth, max_depth: ends of the disparity mapping, model units.
        photometric_weight: of the photometric term; 0 leaves it out.
        feature_weight: of the feature-metric term (reference: perception_weight); 0 leaves it out.
        smoothness_weight: of the disparities' smoothness.
        reconstruction_weight: of the autoencoder's image reconstruction.
        discriminative_weight: of the features' first differences, which are to be large (reference: dis).
        convergent_weight: of the features' second differences, which are to be small (reference: cvt).
        automask: let the unwarped sources join the minimum, so that what does not move relative to the camera is left
            out. None: yes, unless a stereo source takes part (the reference's rule).
        mask_outside: leave out of the mean what no source sees, instead of comparing it with a repeated border.
        disp_norm: divide disparities by their mean before the smoothness. None: the same rule.
        convention: of sampling, see `geometry.warp`.
        noise_per_scale: draw new tie-break noise for every scale, as the reference does.
        detach_features: keep the feature-metric term from training the feature net. A net trained along (joint) could
            make the term small by making the features flat (docs/reference.md, D11). Detached, the term reaches depth
            and motion only. The net then learns from reconstruction and the regularisers. False is the reference.
        reconstruction_target: the image that reconstructions of smaller size are compared with. ``area`` averages.
            ``cascade`` is the reference's autoencoder: bilinear, each from the one before. ``direct`` is its joint
            model: bilinear from the full image, aliased.
        tiny_maps: second differences of maps with a side below 3: ``skip`` or the reference's ``nan``.
    """

    frame_ids: tuple[int | str, ...] = (0, -1, 1)
    scales: tuple[int, ...] = (0, 1, 2, 3)
    min_depth: float = 0.1
    max_depth: float = 100.0
    photometric_weight: float = 1.0
    feature_weight: float = 1e-3
    smoothness_weight: float = 1e-3
    reconstruction_weight: float = 0.0
    discriminative_weight: float = 0.0
    convergent_weight: float = 0.0
    automask: bool | None = None
    mask_outside: bool = False
    disp_norm: bool | None = None
    convention: Convention = "exact"
    noise_per_scale: bool = False
    detach_features: bool = True
    reconstruction_target: ReconstructionTarget = "area"
    tiny_maps: TinyMaps = "skip"

    def __post_init__(self) -> None:
        # lists (from YAML) become tuples, so that the object stays hashable
        object.__setattr__(self, "frame_ids", tuple(self.frame_ids))
        object.__setattr__(self, "scales", tuple(self.scales))
        check_convention(self.convention)
        for name, allowed in (("reconstruction_target", ReconstructionTarget), ("tiny_maps", TinyMaps)):
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise ConfigError(f"{name} is '{value}'{nearest_name(str(value), get_args(allowed))}")
        if not self.frame_ids or self.frame_ids[0] != 0 or len(set(self.frame_ids)) != len(self.frame_ids):
            raise ConfigError(f"frame_ids is {list(self.frame_ids)}; expected 0 first, then sources without repetition")
        strange = [f for f in self.sources if not (isinstance(f, int) and f != 0) and f != "s"]
        if strange:
            raise ConfigError(f"frame_ids holds {strange[0]!r}; expected frame offsets, or 's' for the stereo partner")
        if not self.scales or any(s < 0 for s in self.scales):
            raise ConfigError(f"scales is {list(self.scales)}; expected one or more of 0, 1, 2, 3")
        if not 0 < self.min_depth < self.max_depth:
            raise ConfigError(f"depth range is {self.min_depth} to {self.max_depth}; expected 0 < min < max")
        for name in self.__dataclass_fields__:
            if name.endswith("_weight") and not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.warps and not self.sources:
            raise ConfigError(
                "frame_ids names no source to warp; add one, or set photometric_weight and feature_weight to 0"
            )

    @property
    def sources(self) -> tuple[int | str, ...]:
        """The frames that are warped onto frame 0."""
        return self.frame_ids[1:]

    @property
    def warps(self) -> bool:
        """True when any term needs sources."""
        return self.photometric_weight > 0 or self.feature_weight > 0

    @property
    def uses_automask(self) -> bool:
        """``automask`` with its rule applied."""
        return "s" not in self.frame_ids if self.automask is None else self.automask

    @property
    def uses_disp_norm(self) -> bool:
        """``disp_norm`` with its rule applied."""
        return "s" not in self.frame_ids if self.disp_norm is None else self.disp_norm

    @classmethod
    def reference(
        cls, kind: ReferenceKind = "fm", convention: Convention = "reference_mixed", **changes: Any
    ) -> ObjectiveConfig:
        """The original's objective, with all that is odd about it (docs/reference.md 3 and 7).

        Args:
            kind: ``fm``, ``joint``, ``autoencoder`` or ``baseline``, as in its configs.
            convention: ``reference_mixed`` is what it computes today, ``reference_true`` what its authors computed.
            changes: fields set otherwise.

        Raises:
            ConfigError: unknown kind.
        """
        regularised: dict[str, Any] = {
            "reconstruction_weight": 1.0,
            "discriminative_weight": 1e-3,
            "convergent_weight": 1e-3,
        }
        unwarped: dict[str, Any] = {"photometric_weight": 0.0, "feature_weight": 0.0, "smoothness_weight": 0.0}
        kinds: dict[str, dict[str, Any]] = {
            "fm": {},
            "joint": {**regularised, "reconstruction_target": "direct"},
            "autoencoder": {**regularised, **unwarped, "frame_ids": (0,), "reconstruction_target": "cascade"},
            "baseline": {"feature_weight": 0.0},
        }
        if kind not in kinds:
            raise ConfigError(f"the reference has no objective '{kind}'{nearest_name(kind, kinds)}")
        common: dict[str, Any] = {"noise_per_scale": True, "detach_features": False, "tiny_maps": "nan"}
        return cls(**{**common, "convention": convention, **kinds[kind], **changes})
