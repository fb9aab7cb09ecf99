"""Motion from the features and depths of two frames: flow by matching, then the best rigid motion for this flow.

The network predicts the position of each cell of one frame in the other, with a weight. Weighted least squares then
give the motion: Gauss-Newton on the reprojection error, which is differentiable. A direct regression of the six numbers
needs many times the training and is less accurate.

Depth is wrong too, and in use the fit allows for this (`fit_motion`, ``noisy_depth``). Training uses the plain fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.geometry.warp import sample_pixels
from featdepth_ros.models.layers import conv_norm

#: Radius of the correlation volume, feature pixels.
RADIUS = 4
#: Number of feature pixels of a row in one matrix product.
TILE = 16
#: Channels of the matched maps and of the flow networks, at strides 16 and 8.
MATCHED16, MATCHED8, FLOW16, FLOW8 = 48, 32, 64, 64
#: Gauss-Newton steps, starting without motion; the third changes a car's motion by millimetres.
ITERATIONS = 3
#: Damping on the diagonal of the normal equations, whose entries are of the order of one. In the fit of the length it
#: keeps a motion without parallax as it is.
DAMPING = 1e-4
#: Scale of the Cauchy weights of reprojection errors, full-size pixels.
ROBUST_PX = 3.0
#: Relative error of depth that the fit of all six numbers allows for, with ``noisy_depth`` (docs/results.md).
DEPTH_SIGMA = 0.2
#: Gauss-Newton steps of the fit of the length alone.
LENGTH_ITERATIONS = 4
#: Its Cauchy scales. Along the parallax: pixels, and share of the parallax. Across it, where depth changes nothing:
#: pixels.
ALONG_PX, ALONG_SHARE, ACROSS_PX = 1.6, 0.4, 6.0
#: Where the lower part of the image begins, as a share of its height, and the weight of points in it.
LOWER_BEGINS, LOWER_WEIGHT = 0.6, 8.0
STRIDE = 8


def correlation(earlier: Tensor, later: Tensor, radius: int = RADIUS) -> Tensor:
    """Return the correlation volume of each feature of one frame with its neighbourhood in the other.

    Rows are split into tiles. One matrix product gives a tile's products with its neighbourhood; its diagonal band is
    extracted by a change of the row length. This needs no custom kernel, and a fifth of the operations of whole rows.

    Args:
        earlier: (B, C, H, W), float32.
        later: as ``earlier``.
        radius: radius r in feature pixels.

    Returns:
        (B, (2r + 1)^2, H, W): mean over channels of ``earlier[y, x] * later[y + dy, x + dx]``, dy outermost; zero
        outside of the later frame.
    """
    channels, height, width = earlier.shape[1:]
    reach, span = 2 * radius + 1, TILE + 2 * radius
    tiles = -(-width // TILE)
    spare = tiles * TILE - width
    left = F.pad(earlier, (0, spare)).unflatten(3, (tiles, TILE))  # B, C, H, tiles, TILE
    windows = F.pad(later, (radius, radius + spare, radius, radius)).unfold(3, span, TILE)
    rows = torch.stack([windows[:, :, dy : dy + height] for dy in range(reach)], 1)  # B, 2r+1, C, H, tiles, span
    products = torch.matmul(left.permute(0, 2, 3, 4, 1).unsqueeze(1), rows.permute(0, 1, 3, 4, 2, 5))
    skewed = F.pad(products.flatten(4), (0, TILE)).unflatten(4, (TILE, span + 1))
    band = skewed[..., :reach].flatten(3, 4)[:, :, :, :width] / channels  # B, dy, H, W, dx
    volume: Tensor = band.permute(0, 1, 4, 2, 3).flatten(1, 2)
    return volume


def expected_shift(volume: Tensor, sharpness: Tensor, radius: int = RADIUS) -> Tensor:
    """Return the mean displacement of a correlation volume under the softmax of its values (soft argmax).

    Args:
        volume: (B, (2r + 1)^2, H, W), dy outermost.
        sharpness: scalar, factor on the values.
        radius: r.

    Returns:
        (B, 2, H, W): x and y in feature pixels.
    """
    reach = torch.arange(-radius, radius + 1, device=volume.device, dtype=volume.dtype)
    probability = torch.softmax(volume * sharpness, 1).unflatten(1, (2 * radius + 1, 2 * radius + 1))
    x = (probability.sum(1) * reach[:, None, None]).sum(1)
    y = (probability.sum(2) * reach[:, None, None]).sum(1)
    return torch.stack((x, y), 1)


def sample_at(maps: Tensor, flow: Tensor) -> Tensor:
    """Sample ``maps`` (B, C, H, W) at each pixel plus ``flow`` (B, 2, H, W) pixels; zeros outside."""
    height, width = maps.shape[-2:]
    x = torch.arange(width, device=maps.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=maps.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return sample_pixels(maps, torch.stack((x, y), -1), outside="zeros")


def solve_positive(A: Tensor, b: Tensor) -> Tensor:
    """Solve symmetric positive definite systems (B, n, n), (B, n) by unrolled elimination.

    It is differentiable, and needs no operators that exported graphs lack.
    """
    rows = torch.cat((A, b[..., None]), -1)
    for k in range(A.shape[-1]):
        pivot = rows[:, k : k + 1] / rows[:, k : k + 1, k : k + 1]
        rows = rows - rows[:, :, k : k + 1] * pivot
        rows = torch.cat((rows[:, :k], pivot, rows[:, k + 1 :]), 1)
    return rows[..., -1]


def fit_motion(
    flow_px: Tensor, depth: Tensor, weight: Tensor, camera: Tensor, stride: int = STRIDE, noisy_depth: bool = True
) -> Tensor:
    """Return the rigid motion that fits a flow best, as a twist.

    An error of the depth moves a point in proportion to its parallax. Without ``noisy_depth``, points with much
    parallax therefore decide the length of the motion, although their depth may be wrong. With it, such points get
    smaller weights, and at last the length alone is fitted again (`_length_factor`).

    Args:
        flow_px: (B, 2, h, w) float32, displacement of each cell's centre, full-size pixels.
        depth: (B, 1, h, w) float32 z-depth of the flow's first frame.
        weight: (B, 1, h, w) float32, 0 or more.
        camera: (B or 1, 4) float32 fx, fy, cx, cy, full-size pixels.
        stride: full-size pixels of a cell.
        noisy_depth: allow for errors of ``depth``; see above.

    Returns:
        (B, 6): rotation (radians) and velocity (units of ``depth``) of T_second_first.
    """
    height, width = depth.shape[-2:]
    fx, fy, cx, cy = camera.to(depth)[:, :, None].unbind(1)  # (B or 1, 1) each
    middle = 0.5 * (stride - 1)
    ray_x = (torch.arange(width, device=depth.device, dtype=depth.dtype) * stride + middle - cx) / fx
    ray_y = (torch.arange(height, device=depth.device, dtype=depth.dtype) * stride + middle - cy) / fy
    ray_x = ray_x[:, None].expand(-1, height, -1).flatten(1)
    ray_y = ray_y[:, :, None].expand(-1, -1, width).flatten(1)
    z = depth.flatten(1)
    points = torch.stack((ray_x * z, ray_y * z, z), 1)  # B, 3, N
    flow_x, flow_y = flow_px.flatten(2).unbind(1)
    goal = torch.stack((ray_x + flow_x / fx, ray_y + flow_y / fy), 1)
    focal = torch.stack((fx, fy), 1)
    w = weight.flatten(1)
    # Translation in units of the scene's distance, so that rotation and translation have similar sizes.
    unit = 1 / ((w / z).sum(1) / w.sum(1).clamp_min(1e-6)).clamp_min(1e-6).detach()
    twist = torch.zeros(depth.shape[0], 6, device=depth.device, dtype=depth.dtype)
    for _ in range(ITERATIONS):
        turned, translation = _turned(points, twist)
        allowed = w
        if noisy_depth:
            allowed = w / (1 + DEPTH_SIGMA**2 * _parallax_squared(turned, translation, focal).detach())
        twist = twist + _newton_step(turned + translation, goal, allowed, unit, ROBUST_PX / fx)
    if noisy_depth:
        rows = torch.arange(height, device=depth.device)[:, None].expand(-1, width).flatten()
        important = w * torch.where(rows + 0.5 > LOWER_BEGINS * height, LOWER_WEIGHT, 1.0)
        turned, translation = _turned(points, twist)
        length = torch.ones_like(z[:, :1])
        for _ in range(LENGTH_ITERATIONS):
            length = length * _length_factor(turned, translation * length[..., None], goal, important, focal)
        twist = torch.cat((twist[:, :3], twist[:, 3:] * length), 1)
    return twist


def _turned(points: Tensor, twist: Tensor) -> tuple[Tensor, Tensor]:
    """Return points (B, 3, N) after the rotation of a twist (B, 6), and the twist's translation (B, 3, 1)."""
    T = pose_matrix(*motion_of_twist(twist))
    return T[:, :3, :3] @ points, T[:, :3, 3:]


def _parallax_squared(turned: Tensor, translation: Tensor, focal: Tensor) -> Tensor:
    """Return the square of the pixels (B, N) by which a translation (B, 3, 1) displaces points (B, 3, N)."""
    moved = turned + translation
    shift = moved[:, :2] / moved[:, 2:].clamp_min(1e-3) - turned[:, :2] / turned[:, 2:].clamp_min(1e-3)
    return (focal * shift).square().sum(1)


def _length_factor(turned: Tensor, translation: Tensor, goal: Tensor, weight: Tensor, focal: Tensor) -> Tensor:
    """Return the factor (B, 1) on the translation by one Gauss-Newton step, 0.5 to 2.

    All points whose parallax exceeds a pixel measure the length equally well, because the error of their depth is the
    larger one. Points at the wrong depth disagree with the others along the parallax, and lose weight. The ground below
    the camera has the steadiest depth, so the caller gives a higher weight to the lower part of the image.

    Args:
        turned: (B, 3, N) points after the rotation.
        translation: (B, 3, 1).
        goal: (B, 2, N) normalised coordinates at which the points are seen.
        weight: (B, N).
        focal: (B or 1, 2, 1) in pixels.
    """
    moved = turned + translation
    inverse = 1 / moved[:, 2:].clamp_min(1e-3)
    position = moved[:, :2] * inverse
    # How a point's position in pixels changes with the logarithm of the length: its parallax, to first order.
    slope = (translation[:, :2] - position * translation[:, 2:]) * inverse * focal
    error = (goal - position) * focal
    agreed, squared = (error * slope).sum(1), slope.square().sum(1)
    # A root before the square, as squares of squares overflow for points near the plane of the camera.
    along = (agreed * (squared + 1e-6).rsqrt()).square()
    across = (error.square().sum(1) - along).clamp_min(0)
    doubt = (1 + squared) * (1 + along / (ALONG_PX**2 + ALONG_SHARE**2 * squared)) * (1 + across / ACROSS_PX**2)
    w = weight * (moved[:, 2] > 1e-3) / doubt.detach()
    w = w / w.sum(1, keepdim=True).clamp_min(1e-6)
    step = (w * agreed).sum(1) / ((w * squared).sum(1) + DAMPING)
    return (1 + step[:, None]).clamp(0.5, 2.0)  # flow that fits no motion must not turn it around


def _newton_step(moved: Tensor, goal: Tensor, weight: Tensor, unit: Tensor, robust: Tensor) -> Tensor:
    """Return one Gauss-Newton step for the reprojection error of points (B, 3, N) at normalised ``goal`` (B, 2, N)."""
    px, py, pz = moved.unbind(1)
    inverse = 1 / pz.clamp_min(1e-3)
    u, v = px * inverse, py * inverse
    error_x, error_y = goal[:, 0] - u, goal[:, 1] - v
    squared = (error_x * error_x + error_y * error_y).detach()
    w = weight * (pz.detach() > 1e-3) / (1 + squared / robust**2)
    w = w / w.sum(1, keepdim=True).clamp_min(1e-6)
    zero, scaled = torch.zeros_like(u), inverse * unit[:, None]
    row_x = torch.stack((-u * v, 1 + u * u, -v, scaled, zero, -u * scaled), 1)
    row_y = torch.stack((-1 - v * v, u * v, u, zero, scaled, -v * scaled), 1)
    A = (row_x * w[:, None]) @ row_x.mT + (row_y * w[:, None]) @ row_y.mT
    b = ((row_x * error_x[:, None] + row_y * error_y[:, None]) * w[:, None]).sum(2)
    step = solve_positive(A + DAMPING * torch.eye(6, device=A.device), b)
    return torch.cat((step[:, :3], step[:, 3:] * unit[:, None]), 1)


@dataclass(frozen=True)
class MatchedMotion:
    """Motion of B pairs, and the flow from which it was computed. All tensors are float32.

    Attributes:
        axisangle, translation: (B, 3) of T_later_earlier, radians and units of the used depth.
        flow_px: (B, 2, H / 8, W / 8) displacement of each cell's centre from the earlier frame to the later one, pixels
            of H x W.
    """

    axisangle: Tensor
    translation: Tensor
    flow_px: Tensor


class PoseHead(nn.Module):
    """Motion from the features and depths of two frames.

    The result is half the difference of the twists in both orders of the frames. So an identical pair gives exactly no
    motion, and exchanged frames give exactly the inverse motion.

    Attributes:
        noisy_depth: allow for errors of depth in the fit of the motion (`fit_motion`). Training goes without
            (`use_plain_fit`).
    """

    noisy_depth: bool = True

    def __init__(self, channels8: int, channels16: int) -> None:
        super().__init__()
        cells = (2 * RADIUS + 1) ** 2
        self.reduce16 = nn.Conv2d(channels16, MATCHED16, 1)
        self.reduce8 = nn.Conv2d(channels8, MATCHED8, 1)
        self.match16 = nn.Sequential(conv_norm(cells + MATCHED16, FLOW16), conv_norm(FLOW16, FLOW16))
        self.match8 = nn.Sequential(conv_norm(cells + MATCHED8 + FLOW16 + 2, FLOW8), conv_norm(FLOW8, FLOW8))
        self.shift16 = nn.Conv2d(FLOW16, 2, 3, padding=1)
        self.shift8 = nn.Conv2d(FLOW8, 2, 3, padding=1)
        self.trust = nn.Conv2d(FLOW8, 1, 3, padding=1)
        self.sharpness = nn.Parameter(torch.tensor([16.0, 16.0]))

    def forward(
        self, earlier: Sequence[Tensor], later: Sequence[Tensor], depths: tuple[Tensor, Tensor], camera: Tensor
    ) -> MatchedMotion:
        """Return the motion from maps at strides 8 and 16 and depth at stride 8; camera as in `fit_motion`."""
        flow, weight = self.flow(earlier, later)
        with torch.autocast(flow.device.type, enabled=False):
            flow_px = flow * STRIDE
            both = camera.expand(depths[0].shape[0], 4).repeat(2, 1)
            twist = fit_motion(flow_px, torch.cat(depths).float(), weight, both, noisy_depth=self.noisy_depth)
            forward_twist, backward_twist = twist.unflatten(0, (2, depths[0].shape[0])).unbind()
            axisangle, translation = motion_of_twist(0.5 * (forward_twist - backward_twist))
            return MatchedMotion(axisangle, translation, flow_px[: depths[0].shape[0]])

    def flow(self, earlier: Sequence[Tensor], later: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the flow (2 B, 2, h, w) in pixels at stride 8 and its weight (2 B, 1, h, w), forward then backward."""
        # Each frame separately instead of a split batch, so that exported graphs take any number of pairs.
        there8, back8 = self.reduce8(earlier[0]), self.reduce8(later[0])
        there16, back16 = self.reduce16(earlier[1]), self.reduce16(later[1])
        both8, swapped8 = torch.cat((there8, back8)), torch.cat((back8, there8))
        both16, swapped16 = torch.cat((there16, back16)), torch.cat((back16, there16))
        volume, shift = self._match(both16, swapped16, self.sharpness[0])
        hidden = self.match16(torch.cat((volume, both16), 1))
        coarse = shift + self.shift16(hidden).float()
        coarse = 2 * F.interpolate(coarse, both8.shape[-2:], mode="bilinear", align_corners=False)
        with torch.autocast(coarse.device.type, enabled=False):
            fetched = sample_at(swapped8.float(), coarse)
        volume, shift = self._match(both8, fetched.to(both8.dtype), self.sharpness[1])
        hidden = F.interpolate(hidden, both8.shape[-2:], mode="nearest")
        hidden = self.match8(torch.cat((volume, both8, hidden, coarse.to(both8.dtype)), 1))
        return coarse + shift + self.shift8(hidden).float(), torch.sigmoid(self.trust(hidden).float())

    @staticmethod
    def _match(first: Tensor, second: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosine similarities of each feature with its neighbourhood, and their mean displacement."""
        with torch.autocast(first.device.type, enabled=False):
            unit_first, unit_second = (F.normalize(x.float(), dim=1) * x.shape[1] ** 0.5 for x in (first, second))
            volume = correlation(unit_first, unit_second)
            return volume.to(first.dtype), expected_shift(volume, sharpness)


def use_plain_fit(model: nn.Module) -> None:
    """Let a model's pose head fit motions without allowance for errors of depth, in place, as training needs it.

    The photometric loss wants the motion that explains near points best. Other models are not changed. Weights do not
    hold this choice, so files that were built from them by `export` or a back end allow for errors again.
    """
    for module in model.modules():
        if isinstance(module, PoseHead):
            module.noisy_depth = False


def motion_of_twist(twist: Tensor) -> tuple[Tensor, Tensor]:
    """Exponential map of se(3): (B, 6) (rotation, velocity) -> axisangle (B, 3), translation (B, 3).

    ``translation = V(w) v`` with the left Jacobian V of SO(3) as a power series. The series is smooth at zero rotation
    and has float32 accuracy below one radian. Source: Barfoot, State Estimation for Robotics, 7.1.3.
    """
    rotation, velocity = twist[:, :3], twist[:, 3:]
    square = (rotation * rotation).sum(1, keepdim=True)
    first = 1 / 2 - square * (1 / 24 - square * (1 / 720 - square / 40320))
    second = 1 / 6 - square * (1 / 120 - square * (1 / 5040 - square / 362880))
    once = torch.linalg.cross(rotation, velocity, dim=1)
    twice = torch.linalg.cross(rotation, once, dim=1)
    return rotation, velocity + first * once + second * twice
