"""The training objective of the paper: the sum of all terms, as a pure function of images, disparities and motions."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry.lens import bent, straightened
from featdepth_ros.geometry.projection import at_least_fp32, autocast_off, backproject
from featdepth_ros.geometry.warp import resize_bilinear, resize_nearest, sampling_grid, scaled_intrinsics, warp_points
from featdepth_ros.losses.config import ObjectiveConfig
from featdepth_ros.losses.forward_gradients import with_forward_gradients
from featdepth_ros.losses.photometric import TargetImage, sampled_feature_metric
from featdepth_ros.losses.smoothness import ImageEdges, normalised_by_mean, smoothness

#: Number of regularised levels of the feature net.
FEATURE_LEVELS = 5
TIE_BREAK_SIGMA = 1e-5
#: Loss of pixels that a source does not see; it exceeds any other loss.
UNSEEN = 1e4

Tensors = Mapping[Any, Tensor]


def depth_from_disparity(disparity: Tensor, min_depth: float, max_depth: float) -> Tensor:
    """Return depth in [min_depth, max_depth] for sigmoid disparity in [0, 1] (docs/reference.md 2, disp_to_depth)."""
    near, far = 1 / min_depth, 1 / max_depth
    return 1 / (far + (near - far) * at_least_fp32(disparity))


def objective(
    inputs: Tensors,
    outputs: Tensors,
    config: ObjectiveConfig,
    tie_break_noise: Tensor | Mapping[int, Tensor] | None = None,
    pictures: MutableMapping[Any, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the terms of docs/reference.md 3 and their sum.

    The keys are those of the reference. A key is searched in ``outputs``, then in ``inputs``. f is a source of
    ``config.frame_ids`` (-1, 1, "s", ...), s is a scale, and H x W is the size of the images.

    =======================  ================  ==================================================================
    key                      shape             what
    =======================  ================  ==================================================================
    ("color", f, 0)          (B, 3, H, W)      images of frame 0 and the sources, [0, 1], no colour augmentation
    "K"                      (B, 3|4, 3|4)     intrinsics in pixels of H x W; its inverse "inv_K" is used when there
    "stereo_T"               (B, 4, 4)         T_partner_target; with "s" among the sources
    "lens"                   (B,)              radial coefficient of all cameras (`geometry.lens`); optional
    ("moving", 0)            (B, 1, H, W)      bool, what moves by itself in frame 0: no term that warps compares it;
                                               optional
    ("cam_T_cam", 0, f)      (B, 4, 4)         T_source_target of the other sources (`geometry.se3.pose_matrix`)
    ("disp", 0, s)           (B, 1, any size)  sigmoid disparities of frame 0
    ("feature", f, 0)        (B, C, H/2, W/2)  finest map of the feature net for frame 0 and the sources, unwarped
                                               (`feature_maps`); with feature_weight
    ("feature", 0, i)        (B, C_i, any)     all 5 maps of frame 0, i = 0..4; with discriminative_weight or
                                               convergent_weight
    ("res_img", 0, s)        (B, 3, any size)  reconstructions of frame 0; with reconstruction_weight. A ("disp",
                                               0, s) of three channels stands in: the reference's autoencoder
                                               calls its images so
    =======================  ================  ==================================================================

    Args:
        inputs: see the table.
        outputs: see the table.
        config: weights and options.
        tie_break_noise: noise that is added to the automask's identity losses to break ties. It is (B, n, H, W) for the
            n sources in order, or such a tensor for each scale. None: it is 1e-5 * randn, drawn once for all scales
            unless ``config.noise_per_scale``.
        pictures: mapping that receives detached tensors for display. The keys are ("warped", f, s) with (B, 3, H, W),
            ("depth", s) with (B, 1, H, W), ("winner", s) with (B, H, W), and ("feature_winner",). A winner is an index
            of a source; with automasking, unwarped sources come first.

    Returns:
        All weighted terms as fp32 or fp64 scalars, and their sum with the key "total". The terms are ``photometric/s``,
        ``feature``, ``smoothness/s``, ``reconstruction/s``, ``discriminative/i`` (negative) and ``convergent/i``. The
        reference adds a quarter of ``feature`` at each of four scales.

    Raises:
        ConfigError: a tensor is missing that the configuration needs.
    """
    lookup = _Lookup(inputs, outputs, config)
    target = lookup["color", 0, 0]
    with autocast_off(target):
        terms: dict[str, Tensor] = {}
        edges = ImageEdges(target)
        if config.photometric_weight > 0:
            terms.update(_photometric_terms(lookup, config, tie_break_noise, pictures))
        if config.feature_weight > 0:
            terms["feature"] = _feature_term(lookup, config, pictures)
        if config.smoothness_weight > 0:
            terms.update(_smoothness_terms(lookup, config, edges))
        if config.reconstruction_weight > 0:
            terms.update(_reconstruction_terms(lookup, config))
        if config.discriminative_weight > 0 or config.convergent_weight > 0:
            terms.update(_regulariser_terms(lookup, config, edges))
        terms["total"] = torch.stack(list(terms.values())).sum() if terms else target.new_zeros(())
    return terms


class _Lookup:
    """Tensors by key, from the outputs or else from the inputs; a missing one is an error."""

    def __init__(self, inputs: Tensors, outputs: Tensors, config: ObjectiveConfig) -> None:
        self._mappings = (outputs, inputs)
        self._config = config

    def get(self, key: Any) -> Tensor | None:
        return next((tensors[key] for tensors in self._mappings if key in tensors), None)

    def __getitem__(self, key: Any) -> Tensor:
        tensor = self.get(key)
        if tensor is None:
            raise ConfigError(
                f"the objective needs {key!r}, which neither outputs nor inputs hold; provide it, or set the weight of "
                f"its term to 0 (frame_ids {list(self._config.frame_ids)}, scales {list(self._config.scales)})"
            )
        return tensor

    def motion(self, source: int | str) -> Tensor:
        return at_least_fp32(self["stereo_T"] if source == "s" else self["cam_T_cam", 0, source])


def _photometric_terms(
    lookup: _Lookup,
    config: ObjectiveConfig,
    tie_break_noise: Tensor | Mapping[int, Tensor] | None,
    pictures: MutableMapping[Any, Tensor] | None,
) -> dict[str, Tensor]:
    """Return the photometric terms: the minimum over warped sources and, with automasking, unwarped ones."""
    target = TargetImage(lookup["color", 0, 0])
    sources = torch.cat([at_least_fp32(lookup["color", f, 0]) for f in config.sources])
    motions = torch.cat([lookup.motion(f) for f in config.sources])
    count = len(config.sources)
    identity = _by_source(target.photometric(sources), count) if config.uses_automask else None
    shared_noise: Tensor | None = None
    terms = {}
    for scale in config.scales:
        unwarped = None
        if identity is not None:
            if isinstance(tie_break_noise, Mapping):
                noise = tie_break_noise[scale]
            elif tie_break_noise is not None:
                noise = tie_break_noise
            else:
                if shared_noise is None or config.noise_per_scale:
                    shared_noise = _draw_noise(identity)
                noise = shared_noise
            unwarped = identity + noise
        compare = partial(_least_difference, config, scale, target, unwarped, pictures, lookup.get(("moving", 0)))
        least = with_forward_gradients(
            compare, lookup["disp", 0, scale], motions, sources, lookup["K"], lookup.get("inv_K"), lookup.get("lens")
        )
        terms[f"photometric/{scale}"] = config.photometric_weight * least / len(config.scales)
    return terms


def _least_difference(
    config: ObjectiveConfig,
    scale: int,
    target: TargetImage,
    unwarped: Tensor | None,
    pictures: MutableMapping[Any, Tensor] | None,
    moving: Tensor | None,
    disparity: Tensor,
    motions: Tensor,
    sources: Tensor,
    K: Tensor,
    inv_K: Tensor | None,
    lens: Tensor | None,
) -> Tensor:
    """Warp the sources by one scale's disparity, and return the scalar mean of each pixel's least difference."""
    count = len(config.sources)
    disparity = resize_bilinear(at_least_fp32(disparity), *target.image.shape[-2:])
    depth = depth_from_disparity(disparity, config.min_depth, config.max_depth)
    points = backproject(depth, K, inv_K).repeat(count, 1, 1, 1)
    points, motions = _through_lens(points, motions, None if lens is None else lens.repeat(count))
    warped, seen = warp_points(sources, points, K.repeat(count, 1, 1), motions, config.convention)
    candidates = _by_source(target.photometric(warped), count)
    seen = _by_source(seen, count)
    if config.mask_outside:
        candidates = candidates.masked_fill(~seen, UNSEEN)
    least, winner = (candidates if unwarped is None else torch.cat([unwarped, candidates], 1)).min(1)
    if pictures is not None:
        pictures["depth", scale], pictures["winner", scale] = depth.detach(), winner
        for source, image in zip(config.sources, warped.detach().chunk(count), strict=True):
            pictures["warped", source, scale] = image
    return _mean(least, seen if config.mask_outside else None, moving)


def _through_lens(points: Tensor, motion: Tensor, lens: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return points and motion whose pinhole projection equals that of the lens; unchanged without a lens."""
    if lens is None:
        return points, motion
    moved = (motion[:, :3, :3] @ straightened(points, lens).flatten(2) + motion[:, :3, 3:]).unflatten(
        2, points.shape[-2:]
    )
    return bent(moved, lens), torch.eye(4, device=motion.device, dtype=motion.dtype).expand_as(motion)


def _mean(least: Tensor, seen: Tensor | None, moving: Tensor | None) -> Tensor:
    """Return the mean of (B, H, W) over pixels that any source sees (B, n, H, W) and that do not move (B, 1, h, w)."""
    if seen is None and moving is None:
        return least.mean()
    mask = torch.ones_like(least, dtype=torch.bool) if seen is None else seen.any(1)
    if moving is not None:
        mask = mask & (resize_nearest(moving.to(least.dtype), *least.shape[-2:])[:, 0] == 0)
    return torch.where(mask, least, 0.0).sum() / mask.sum().clamp_min(1)


def _by_source(losses: Tensor, sources: int) -> Tensor:
    """Return (n B, 1, H, W), in blocks of B, as (B, n, H, W)."""
    return torch.cat(losses.chunk(sources), 1)


def _draw_noise(identity: Tensor) -> Tensor:
    """Return 1e-5 * randn, drawn by source, so that the same seed gives the reference's numbers."""
    draws = [torch.randn_like(identity[:, :1]) for _ in range(identity.shape[1])]
    return torch.cat(draws, 1) * TIE_BREAK_SIGMA


def _feature_term(lookup: _Lookup, config: ObjectiveConfig, pictures: MutableMapping[Any, Tensor] | None) -> Tensor:
    """Return the feature term: the minimum over warped sources, with the depth of scale 0 at the features' size."""
    target = at_least_fp32(lookup["feature", 0, 0])
    sources = [at_least_fp32(lookup["feature", f, 0]) for f in config.sources]
    if config.detach_features:
        target, sources = target.detach(), [source.detach() for source in sources]
    height, width = target.shape[-2:]
    full_height, full_width = lookup["color", 0, 0].shape[-2:]
    K = scaled_intrinsics(at_least_fp32(lookup["K"]), width / full_width, height / full_height, config.convention)
    disparity = resize_bilinear(at_least_fp32(lookup["disp", 0, 0]), height, width)
    points = backproject(depth_from_disparity(disparity, config.min_depth, config.max_depth), K)
    losses, seen = [], []
    for f, source in zip(config.sources, sources, strict=True):
        seen_points, motion = _through_lens(points, lookup.motion(f), lookup.get("lens"))
        grid, inside = sampling_grid(seen_points, K, motion, source.shape[-2:], config.convention)
        loss = sampled_feature_metric(target, source, grid, config.convention)
        losses.append(loss.masked_fill(~inside, UNSEEN) if config.mask_outside else loss)
        seen.append(inside)
    least, winner = torch.cat(losses, 1).min(1)
    if pictures is not None:
        pictures[("feature_winner",)] = winner
    inside_any = torch.cat(seen, 1) if config.mask_outside else None
    return config.feature_weight * _mean(least, inside_any, lookup.get(("moving", 0)))


def _smoothness_terms(lookup: _Lookup, config: ObjectiveConfig, edges: ImageEdges) -> dict[str, Tensor]:
    terms = {}
    for scale in config.scales:
        disparity = lookup["disp", 0, scale]
        if config.uses_disp_norm:
            disparity = normalised_by_mean(disparity)
        first, second = smoothness(disparity, edges, 0.5, config.tiny_maps)
        terms[f"smoothness/{scale}"] = config.smoothness_weight * (first + second) / 2**scale / len(config.scales)
    return terms


def _reconstruction_terms(lookup: _Lookup, config: ObjectiveConfig) -> dict[str, Tensor]:
    """Return the photometric differences of the autoencoder's images and frame 0 (docs/reference.md, D20)."""
    original = at_least_fp32(lookup["color", 0, 0])
    terms, target = {}, original
    for scale in config.scales:
        image = lookup.get(("res_img", 0, scale))
        if image is None:
            image = lookup["disp", 0, scale]
        if image.shape[1] != original.shape[1]:
            raise ConfigError(
                f"('res_img', 0, {scale}) is missing, and ('disp', 0, {scale}) has {image.shape[1]} channel(s), so "
                "it is no image; provide the reconstruction, or set reconstruction_weight to 0"
            )
        size = image.shape[-2:]
        if config.reconstruction_target == "area":
            target = original if original.shape[-2:] == size else functional.interpolate(original, size, mode="area")
        else:
            target = resize_bilinear(target if config.reconstruction_target == "cascade" else original, *size)
        difference = TargetImage(target).photometric(image).mean()
        terms[f"reconstruction/{scale}"] = config.reconstruction_weight * difference / len(config.scales)
    return terms


def _regulariser_terms(lookup: _Lookup, config: ObjectiveConfig, edges: ImageEdges) -> dict[str, Tensor]:
    """Return the regularisers, for large first and small second differences of features (docs/reference.md 3).

    Their weights are lower at edges of the image.
    """
    terms = {}
    for level in range(FEATURE_LEVELS):
        first, second = smoothness(lookup["feature", 0, level], edges, 1.0, config.tiny_maps)
        share = 1 / 2**level / FEATURE_LEVELS
        terms[f"discriminative/{level}"] = -config.discriminative_weight * first * share
        terms[f"convergent/{level}"] = config.convergent_weight * second * share
    return terms
