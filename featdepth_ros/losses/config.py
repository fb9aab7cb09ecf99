"""Settings of the objective, and the settings of the reference."""

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
    """Terms and options of the objective. The defaults are the paper's feature-metric training with `exact` sampling.

    Attributes:
        frame_ids: the target 0, then the sources: frame offsets, and ``"s"`` for the other camera of a stereo pair.
        scales: trained scales of the decoder; 0 is the finest.
        min_depth, max_depth: limits of the disparity mapping, network units.
        photometric_weight: weight of the photometric term; 0: none.
        feature_weight: weight of the feature-metric term (reference: perception_weight); 0: none.
        smoothness_weight: weight of the disparities' smoothness.
        reconstruction_weight: weight of the autoencoder's image reconstruction.
        discriminative_weight: weight of the features' first differences, which should be large (reference: dis).
        convergent_weight: weight of the features' second differences, which should be small (reference: cvt).
        automask: include the unwarped sources in the minimum, which excludes objects without motion relative to the
            camera. None: yes, except with a stereo source (the reference's rule).
        mask_outside: exclude pixels without a visible source from the mean, instead of using the repeated border.
        disp_norm: divide disparities by their mean before the smoothness. None: the same rule as for ``automask``.
        convention: sampling convention, see `geometry.warp`.
        noise_per_scale: draw new tie-break noise for every scale, as the reference does.
        detach_features: no gradients of the feature-metric term for the feature net. A jointly trained net could reduce
            the term by flat features (docs/reference.md, D11). With True, the term trains depth and motion only, and
            the net learns from reconstruction and regularisers. False is the reference.
        reconstruction_target: how the image is reduced for reconstructions of smaller size. ``area`` averages.
            ``cascade`` is the reference's autoencoder: bilinear, each from the previous size. ``direct`` is its joint
            model: bilinear from the full image, with aliasing.
        tiny_maps: second differences of maps with a side below 3: ``skip``, or the reference's ``nan``.
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
        """Whether any term needs sources."""
        return self.photometric_weight > 0 or self.feature_weight > 0

    @property
    def uses_automask(self) -> bool:
        """Value of ``automask`` after its rule for None."""
        return "s" not in self.frame_ids if self.automask is None else self.automask

    @property
    def uses_disp_norm(self) -> bool:
        """Value of ``disp_norm`` after its rule for None."""
        return "s" not in self.frame_ids if self.disp_norm is None else self.disp_norm

    @classmethod
    def reference(
        cls, kind: ReferenceKind = "fm", convention: Convention = "reference_mixed", **changes: Any
    ) -> ObjectiveConfig:
        """Return the settings of the original's objective, including its peculiarities (docs/reference.md 3 and 7).

        Args:
            kind: ``fm``, ``joint``, ``autoencoder`` or ``baseline``, as in its configs.
            convention: ``reference_mixed`` for the original under today's torch, ``reference_true`` for its authors'.
            changes: fields with other values.

        Raises:
            ConfigError: the kind is unknown.
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
