"""The description of a scene, and its builder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.simulation.render import kernels, shapes
from featdepth_ros.simulation.render.shapes import BOX, CONE, ELLIPSOID, FRUSTUM, LEAVES, SceneData
from featdepth_ros.simulation.render.textures import Atlas

Vector = NDArray[np.float64]
Texture = int | tuple[int, int, int]
Tile = float | tuple[float, float] | NDArray[np.float64] | str


@dataclass(frozen=True)
class Light:
    """The scene's light: a distant sun (or lamp), and ambient light from above and below.

    Attributes:
        direction: direction towards the sun, world axes, of any length.
        sun, above, below: (red, green, blue) intensity.
    """

    direction: tuple[float, float, float] = (0.3, 0.5, 0.8)
    sun: tuple[float, float, float] = (0.75, 0.72, 0.65)
    above: tuple[float, float, float] = (0.46, 0.49, 0.55)
    below: tuple[float, float, float] = (0.3, 0.28, 0.26)


@dataclass(frozen=True)
class Sky:
    """The colours of the sky and its clouds (cover 0 to 1, brightness)."""

    zenith: tuple[float, float, float] = (0.3, 0.5, 0.85)
    horizon: tuple[float, float, float] = (0.8, 0.87, 0.93)
    cover: float = 0.5
    size: float = 0.12
    brightness: float = 0.95


@dataclass(frozen=True)
class Ground:
    """Ground with a road: undulation, widths and markings. Lengths are in metres; a width or strength of 0 omits it."""

    road: float = 4.0
    pavement: float = 2.5
    tile: float = 2.0
    centre_line: float = 0.8
    edge_line: float = 0.0
    dash: float = 9.0
    crossing: float = 0.0
    textures: tuple[int, int, int, int] = (0, 0, 0, 0)
    tints: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0),) * 4
    waves: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))


@dataclass(frozen=True)
class Scene:
    """A world to render.

    Attributes:
        kind, seed: kind and random seed from which the scene was made.
        data: arrays for the compiled kernels.
        path: data for the trajectories (a road's centreline, a room's free space).
        far_m: distance beyond which primitives are not drawn, metres.
    """

    kind: str
    seed: int
    data: SceneData
    path: object
    far_m: float = 160.0

    def ground_height(self, x: float, y: float) -> tuple[float, float, float]:
        """Return the height (m) and slopes of the ground at a position, or zeros if the scene has no such ground."""
        return undulation(self.data.waves, x, y)


def undulation(waves: Vector, x: float, y: float) -> tuple[float, float, float]:
    """Return height (m) and slopes of an undulating ground, by the same function as the renderer."""
    height, slope_x, slope_y = shapes.ground_height.py_func(waves, float(x), float(y))  # type: ignore[attr-defined]
    return float(height), float(slope_x), float(slope_y)


def turn(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Vector:
    """Return the 3x3 rotation Rz(yaw) Ry(pitch) Rx(roll), angles in radians; columns are the rotated axes."""
    cz, sz, cy, sy, cx, sx = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


class SceneBuilder:
    """Collects primitives; `build` turns them into a `Scene`.

    ``texture`` is an index of the atlas, or three of them, one per face axis. ``tint`` is one colour factor or three.
    ``tile`` is metres per texture tile: one number, (u, v), or (3, 2) of them per face axis. ``"fit"`` stretches one
    tile over each face.
    """

    def __init__(self, kind: str, seed: int, atlas: Atlas | None = None) -> None:
        self.kind, self.seed = kind, seed
        self.atlas = atlas or Atlas(seed)
        self.casts: list[bool] = []
        self._rows: list[tuple[tuple[int, ...], list[float], Vector]] = []

    def pick(self, rng: np.random.Generator, *names: str) -> int:
        """Return the index of a random texture of the named kinds."""
        name = names[int(rng.integers(len(names)))]
        choices = self.atlas[name]
        return choices[int(rng.integers(len(choices)))]

    def _add(
        self, kind: int, centre: ArrayLike, half: ArrayLike, rotation: Vector, texture: Texture, tile: Tile,
        tint: ArrayLike, taper: tuple[float, float] = (1.0, 1.0), glow: float = 0.0, casts: bool = True,
        shift: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        h = np.maximum(np.asarray(half, dtype=float), 1e-3)
        if isinstance(tile, str):
            tiles = np.array([[2.0 * h[a], 2.0 * h[b]] for a, b in ((1, 2), (0, 2), (0, 1))])
            shift = (0.5, 0.5)
        else:
            tiles = np.broadcast_to(np.asarray(tile, dtype=float), (3, 2))
        # Textures are aligned with the primitive's bottom, so that a storey begins at the ground.
        shift = shift or (0.0, float(h[2] / tiles[0][1]) % 1.0)
        textures = texture if isinstance(texture, tuple) else (texture,) * 3
        inverse, tints = rotation.T / h[:, None], np.broadcast_to(np.asarray(tint, dtype=float), (3, 3))
        numbers = [
            *np.asarray(centre, float),
            *inverse.ravel(),
            *h,
            *taper,
            *tiles.ravel(),
            *shift,
            *tints.ravel(),
            glow,
        ]
        self._rows.append(((kind, *textures), numbers, rotation.T * h[:, None]))
        self.casts.append(casts)

    def box(
        self, centre: ArrayLike, half: ArrayLike, texture: Texture, rotation: Vector | None = None,
        tile: Tile = 1.0, tint: ArrayLike = (1.0, 1.0, 1.0), glow: float = 0.0,
        casts: bool = True, shift: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """Add a box by its centre, half extents (m) and the rotation of its axes."""
        self._add(BOX, centre, half, _or_upright(rotation), texture, tile, tint, (1.0, 1.0), glow, casts, shift)

    def ellipsoid(
        self, centre: ArrayLike, half: ArrayLike, texture: int, rotation: Vector | None = None,
        tile: float | tuple[float, float] = 1.0, tint: ArrayLike = (1.0, 1.0, 1.0), glow: float = 0.0,
        shift: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """Add an ellipsoid by its centre and half axes (m)."""
        self._add(ELLIPSOID, centre, half, _or_upright(rotation), texture, tile, tint, (1.0, 1.0), glow, True, shift)

    def leaves(
        self, centre: ArrayLike, half: ArrayLike, texture: int, rotation: Vector | None, tile: float, tint: ArrayLike
    ) -> None:
        """Add foliage: an ellipsoid with gaps where the texture is transparent. ``tile`` is for its mean half axis."""
        h = np.asarray(half, float)
        density = float(h.mean()) / tile
        # The texture is mapped to the unit sphere, so that its dark parts are the gaps.
        tiles = np.array([[h[a], h[b]] for a, b in ((1, 2), (0, 2), (0, 1))]) / density
        self._add(LEAVES, centre, h, _or_upright(rotation), texture, tiles, tint, (density, 1.0), shift=(0.0, 0.0))

    def frustum(
        self, centre: ArrayLike, half: ArrayLike, texture: Texture, taper: tuple[float, float],
        rotation: Vector | None = None, tile: Tile = 1.0, tint: ArrayLike = (1.0, 1.0, 1.0),
    ) -> None:  # fmt: skip
        """Add a box whose top is ``taper`` (along x, y; 0 to 1) times as wide as its bottom, for roofs and cabins."""
        self._add(FRUSTUM, centre, half, _or_upright(rotation), texture, tile, tint, taper)

    def cone(
        self, foot: ArrayLike, top: ArrayLike, radius: float, texture: int, radius_top: float | None = None,
        tile: float | tuple[float, float] = 1.0, tint: ArrayLike = (1.0, 1.0, 1.0), glow: float = 0.0,
        casts: bool = True,
    ) -> None:  # fmt: skip
        """Add a cylinder, or a cone frustum, from ``foot`` to ``top`` (m)."""
        a, b = np.asarray(foot, float), np.asarray(top, float)
        axis = b - a
        length = float(np.linalg.norm(axis))
        z = axis / length
        x = np.cross(z, [0.0, 0.0, 1.0] if abs(z[2]) < 0.9 else [0.0, 1.0, 0.0])
        x /= np.linalg.norm(x)
        rotation = np.stack([x, np.cross(z, x), z], axis=1)
        top_radius = radius if radius_top is None else radius_top
        widest = max(radius, top_radius)
        if top_radius > radius:  # the wide end becomes the foot, so that the unit box always bounds the cone
            rotation, top_radius = rotation @ np.diag([1.0, -1.0, -1.0]), radius
        half = (widest, widest, 0.5 * length)
        self._add(CONE, 0.5 * (a + b), half, rotation, texture, tile, tint, (top_radius / widest, 1.0), glow, casts)

    def pack(self) -> tuple[NDArray[np.int32], Vector, Vector, NDArray[np.bool_]]:
        """Return kind, shapes and axes as in `SceneData`, and a mask of the primitives that cast a shadow."""
        columns = list(zip(*self._rows, strict=True))
        return np.array(columns[0], np.int32), np.array(columns[1], float), np.array(columns[2]), np.array(self.casts)

    def build(
        self, path: object, light: Light, sky: Sky, ground: Ground | None, arcs: Vector, grid: NDArray[np.int32],
        frame: Vector, shadow_cell_m: float, far_m: float,
    ) -> Scene:  # fmt: skip
        """Build the arrays of the scene and its shadow map."""
        sun = np.asarray(light.direction, float) / np.linalg.norm(light.direction)
        kind, packed, axes, casts = self.pack()
        frame_s, shape, top = _shadow_frame(sun, packed[:, :3], axes, casts, shadow_cell_m)
        road = ground or Ground()
        sky_numbers = [*sky.zenith, *sky.horizon, self.atlas["cloud"][0], sky.cover, sky.size, sky.brightness]
        ground_numbers = _ground_numbers(road, ground is not None, self.atlas["stain"][0])
        data = SceneData(
            kind=kind,
            shapes=packed,
            axes=axes,
            atlas=self.atlas.texels,
            numbers=np.array(
                [*sun, *light.sun, *light.above, *light.below, *frame_s, *sky_numbers, *ground_numbers]
                + [v for tint in road.tints for v in tint]
            ),
            waves=road.waves,
            arcs=np.column_stack([arcs, np.cos(arcs[:, 2]), np.sin(arcs[:, 2])]),
            arc_grid=grid,
            arc_frame=frame,
            ground_texture=np.array(road.textures, np.int32),
            shadow=np.full(shape, -1e9, np.float32),
        )
        kernels.cast_shadows(data, casts, top, data.shadow, np.empty(3), np.empty(3))
        return Scene(self.kind, self.seed, data, path, far_m)


def _or_upright(rotation: Vector | None) -> Vector:
    return np.eye(3) if rotation is None else rotation


def _ground_numbers(ground: Ground, on: bool, patch: int) -> Vector:
    waves = ground.waves
    # The parabolic sine has a slope of at most 8 per cycle.
    slope = float(np.sum(np.abs(waves[:, 0]) * np.hypot(waves[:, 1], waves[:, 2])) * 8.0)
    highest = float(np.abs(waves[:, 0]).sum()) + 1e-6
    return np.array(
        [
            float(on), highest, slope, ground.road, ground.pavement, ground.tile, ground.centre_line,
            ground.edge_line, ground.dash, ground.crossing, float(patch),
        ]
    )  # fmt: skip


def _shadow_frame(
    sun: Vector, centre: Vector, axes: Vector, casts: NDArray[np.bool_], cell: float
) -> tuple[Vector, tuple[int, int], float]:
    """Return the shadow map's frame, its (rows, columns), and a height along the sun's axis above every primitive."""
    first = np.cross(sun, [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(sun, first)
    reach = {name: np.abs(axes @ axis).sum(1) for name, axis in (("a", first), ("b", second), ("c", sun))}
    place = {name: centre @ axis for name, axis in (("a", first), ("b", second), ("c", sun))}
    if not casts.any():
        return np.array([*first, *second, 0.0, 0.0, cell]), (1, 1), 0.0
    low = [float((place[k] - reach[k])[casts].min()) - 3 * cell for k in "ab"]
    high = [float((place[k] + reach[k])[casts].max()) + 3 * cell for k in "ab"]
    top = float((place["c"] + reach["c"]).max()) + 1.0
    shape = (int((high[1] - low[1]) / cell) + 2, int((high[0] - low[0]) / cell) + 2)
    return np.array([*first, *second, *low, cell]), shape, top
