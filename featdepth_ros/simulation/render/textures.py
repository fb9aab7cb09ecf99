"""Procedural textures: tiles that repeat without a seam, generated from a seed, with their mip levels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.simulation.render.shapes import LEVELS, TEXTURE_SIZE

Colours = NDArray[np.float64]
SIZE = TEXTURE_SIZE


def noise(rng: np.random.Generator, slope: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Colours:
    """Return (SIZE, SIZE) tileable noise from 0 to 1; its amplitude is frequency^-slope. ``stretch`` is (y, x)."""
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch[0]
    fx = np.fft.rfftfreq(SIZE)[None, :] * SIZE * stretch[1]
    amplitude = np.maximum(np.hypot(fx, fy), 1.0) ** -slope
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * amplitude, s=(SIZE, SIZE))
    values: Colours = np.clip(0.5 + field / (5.0 * field.std()), 0.0, 1.0)
    return values


def colour(rng: np.random.Generator, *choices: tuple[float, float, float], spread: float = 0.06) -> Colours:
    """Return a random one of the colours with a slight variation."""
    return np.clip(np.array(choices[rng.integers(len(choices))]) + rng.uniform(-spread, spread, 3), 0.02, 0.98)


def blend(low: Colours, high: Colours, weight: Colours) -> Colours:
    """Mix two colours by a (SIZE, SIZE) weight."""
    mixed: Colours = low + (high - low) * weight[..., None]
    return mixed


def plaster(rng: np.random.Generator) -> Colours:
    """Painted plaster, which has almost no texture."""
    base = colour(rng, (0.85, 0.8, 0.7), (0.75, 0.76, 0.78), (0.8, 0.65, 0.5), (0.9, 0.88, 0.85), (0.62, 0.7, 0.72))
    return base * (0.94 + 0.12 * noise(rng, 1.2))[..., None]


def concrete(rng: np.random.Generator) -> Colours:
    """Concrete with stains, fine grain and pores."""
    tone = 0.75 * noise(rng, 1.0) + 0.25 * noise(rng, 0.2)
    return blend(np.array([0.42, 0.41, 0.39]), np.array([0.75, 0.74, 0.7]), tone)


def asphalt(rng: np.random.Generator) -> Colours:
    """Asphalt with grain over patches."""
    tone = 0.45 * noise(rng, 1.3) + 0.55 * noise(rng, 0.15)
    return blend(np.array([0.2, 0.2, 0.21]), np.array([0.58, 0.57, 0.56]), tone)


def ground_cover(rng: np.random.Generator) -> Colours:
    """Grass, soil or gravel."""
    low, high = [
        ((0.08, 0.14, 0.03), (0.5, 0.56, 0.22)),
        ((0.2, 0.17, 0.1), (0.6, 0.53, 0.38)),
        ((0.25, 0.24, 0.22), (0.72, 0.7, 0.66)),
    ][rng.integers(3)]
    return blend(np.array(low), np.array(high), 0.5 * noise(rng, 0.9) + 0.5 * noise(rng, 0.25))


def foliage(rng: np.random.Generator) -> Colours:
    """Overlapping leaves in light and dark clumps, with dark gaps between them."""
    dark = colour(rng, (0.03, 0.05, 0.02), (0.05, 0.06, 0.02), spread=0.01)
    light = colour(rng, (0.4, 0.55, 0.2), (0.52, 0.58, 0.25), (0.3, 0.48, 0.2), (0.65, 0.5, 0.2))
    clumps = noise(rng, 1.3)
    image = np.ones((SIZE, SIZE, 3)) * dark
    for _ in range(700):
        x, y = rng.integers(0, SIZE, 2)
        tone = light * (0.3 + 0.55 * clumps[y, x] + 0.35 * rng.random()) * (1.0 + rng.uniform(-0.1, 0.1, 3))
        size, angle = rng.integers((6, 3), (12, 6)).tolist(), float(rng.uniform(0, 360))
        for dx in (0, SIZE) if x < 12 else ((0, -SIZE) if x > SIZE - 12 else (0,)):
            for dy in (0, SIZE) if y < 12 else ((0, -SIZE) if y > SIZE - 12 else (0,)):
                cv2.ellipse(image, (int(x + dx), int(y + dy)), size, angle, 0, 360, tone.tolist(), -1)
    return image


def bark(rng: np.random.Generator) -> Colours:
    """Bark with long vertical cracks."""
    tone = 0.7 * noise(rng, 1.0, (0.25, 1.5)) + 0.3 * noise(rng, 0.4)
    return blend(np.array([0.1, 0.08, 0.06]), colour(rng, (0.45, 0.38, 0.3), (0.55, 0.52, 0.47)), tone)


def wood(rng: np.random.Generator) -> Colours:
    """Boards with grain."""
    tone = 0.75 * noise(rng, 1.2, (2.2, 0.15)) + 0.25 * noise(rng, 0.3, (1.5, 0.3))
    image = blend(
        colour(rng, (0.3, 0.18, 0.1), (0.5, 0.36, 0.22)), colour(rng, (0.72, 0.52, 0.33), (0.85, 0.7, 0.5)), tone
    )
    boards = int(rng.choice([2, 4, 8]))
    row = np.arange(SIZE) * boards // SIZE
    image *= rng.uniform(0.75, 1.1, boards)[row][:, None, None]
    image[:: SIZE // boards] *= 0.45
    return image


def _masonry(rng: np.random.Generator, rows: int, columns: int, shift: float, joint: int) -> tuple[Colours, Colours]:
    """Return the brightness of the bricks and the mask of the joints, per pixel, of a tileable bond pattern."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    row = y * rows // SIZE
    moved = x * columns / SIZE + shift * (row % 2)
    column = np.floor(moved).astype(int) % columns
    tone = rng.uniform(0.0, 1.0, (rows, columns))[row, column]
    in_x, in_y = (moved % 1.0) * SIZE / columns, y % (SIZE / rows)
    return tone, ((in_x < joint) | (in_y < joint)).astype(float)


def bricks(rng: np.random.Generator) -> Colours:
    """A brick wall, or large stone blocks."""
    rows, columns = [(16, 8), (12, 4), (20, 8), (6, 4)][rng.integers(4)]
    tone, joint = _masonry(rng, rows, columns, 0.5, 2)
    low, high = [
        ((0.36, 0.16, 0.1), (0.66, 0.36, 0.26)),
        ((0.5, 0.4, 0.28), (0.8, 0.7, 0.52)),
        ((0.3, 0.3, 0.31), (0.62, 0.6, 0.58)),
    ][rng.integers(3)]
    image = blend(np.array(low), np.array(high), 0.7 * tone + 0.3 * noise(rng, 0.5))
    return blend_mask(image, np.array([0.7, 0.68, 0.63]) * rng.uniform(0.6, 1.1), joint)


def blend_mask(image: Colours, over: Colours, mask: Colours) -> Colours:
    """Return the image with ``over`` where the mask is 1."""
    laid: Colours = image + (over - image) * mask[..., None]
    return laid


def paving(rng: np.random.Generator) -> Colours:
    """Paving slabs, cobblestones or floor tiles."""
    rows, columns, shift = [(4, 4, 0.0), (6, 3, 0.5), (16, 16, 0.5), (8, 8, 0.0)][rng.integers(4)]
    tone, joint = _masonry(rng, rows, columns, shift, 2)
    base = colour(rng, (0.6, 0.58, 0.54), (0.5, 0.5, 0.52), (0.66, 0.56, 0.46))
    image = base * (0.62 + 0.3 * tone + 0.35 * (noise(rng, 0.5) - 0.3))[..., None]
    return blend_mask(image, base * 0.45, joint)


def facade(rng: np.random.Generator) -> Colours:
    """A wall with two by two windows, which have frames, sills, curtains and reflections."""
    wall = [bricks, plaster, plaster, concrete][rng.integers(4)](rng)
    image, half = wall.copy(), SIZE // 2
    width, height = int(half * rng.uniform(0.3, 0.7)), int(half * rng.uniform(0.4, 0.72))
    frame = colour(rng, (0.92, 0.92, 0.9), (0.3, 0.22, 0.16), (0.25, 0.27, 0.3))
    for row in range(2):
        for column in range(2):
            x, y = column * half + (half - width) // 2, row * half + (half - height) // 2
            cv2.rectangle(image, (x - 6, y - 6), (x + width + 6, y + height + 6), frame.tolist(), -1)
            glass = blend(np.array([0.08, 0.1, 0.13]), np.array([0.55, 0.63, 0.7]), noise(rng, 1.6))
            glass = glass[:height, :width] * rng.uniform(0.5, 1.1)
            if rng.random() < 0.6:
                drop = int(height * rng.uniform(0.15, 0.9))
                glass[height - drop :] = colour(rng, (0.85, 0.82, 0.75), (0.6, 0.5, 0.45), (0.75, 0.78, 0.8))
                glass[height - drop :] *= (0.85 + 0.15 * np.cos(np.arange(width) * rng.uniform(0.3, 1.0)))[:, None]
            image[y : y + height, x : x + width] = glass
            cv2.line(image, (x + width // 2, y), (x + width // 2, y + height), frame.tolist(), 4)
            cv2.rectangle(image, (x - 9, y - 12), (x + width + 9, y - 6), (frame * 0.7).tolist(), -1)
    if rng.random() < 0.5:
        image[: SIZE // 32] *= 0.7
    return image


def roof(rng: np.random.Generator) -> Colours:
    """Rows of roof tiles."""
    tone, joint = _masonry(rng, 16, 16, 0.5, 3)
    image = colour(rng, (0.5, 0.25, 0.18), (0.3, 0.3, 0.33), (0.4, 0.32, 0.26)) * (0.6 + 0.5 * tone)[..., None]
    return blend_mask(image, np.array([0.12, 0.1, 0.1]), 0.7 * joint)


def fabric(rng: np.random.Generator) -> Colours:
    """Woven cloth with checks or stripes."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    image = np.ones((SIZE, SIZE, 3)) * rng.uniform(0.15, 0.9, 3)
    for _ in range(int(rng.integers(1, 5))):
        count, share, tone = int(rng.choice([1, 2, 4, 8, 16])), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.95, 3)
        along = x if rng.random() < 0.5 else y
        image = blend_mask(image, tone, 0.6 * ((along * count + rng.random()) % 1.0 < share))
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * 64 * x) + 0.25 * np.sin(2 * np.pi * 64 * y)
    shade: Colours = image * (0.72 + 0.2 * weave + 0.25 * (noise(rng, 0.6) - 0.3))[..., None]
    return shade


def carpet(rng: np.random.Generator) -> Colours:
    """A carpet with rings, diamonds and a border."""
    y, x = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE - 0.5
    tones = rng.uniform(0.1, 0.85, (6, 3))
    form = np.hypot(x, y) if rng.random() < 0.5 else np.abs(x) + np.abs(y)
    index = np.floor(form * rng.integers(6, 18) + np.floor(3 * np.sin(2 * np.pi * 4 * x) * np.sin(2 * np.pi * 4 * y)))
    image = tones[index.astype(int) % 6]
    image[(np.maximum(np.abs(x), np.abs(y)) > 0.44)] = tones[0] * 0.6
    shade: Colours = image * (0.75 + 0.5 * (noise(rng, 0.2) - 0.25))[..., None]
    return shade


def poster(rng: np.random.Generator) -> Colours:
    """A framed picture or poster: shapes over a landscape of noise."""
    image = blend(rng.uniform(0.0, 0.6, 3), rng.uniform(0.4, 1.0, 3), noise(rng, float(rng.uniform(1.0, 2.0))))
    for _ in range(int(rng.integers(4, 16))):
        centre = rng.integers(0, SIZE, 2).tolist()
        tone, size = rng.uniform(0, 1, 3).tolist(), rng.integers(6, 70, 2).tolist()
        kind = rng.integers(3)
        if kind == 0:
            cv2.ellipse(image, centre, size, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, centre, (np.array(centre) + size).tolist(), tone, -1)
        else:
            cv2.line(image, centre, rng.integers(0, SIZE, 2).tolist(), tone, int(rng.integers(1, 9)), cv2.LINE_AA)
    for line in range(int(rng.integers(0, 5))):
        text = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTU0123456789"), 8))
        cv2.putText(image, text, (20, 50 + 45 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.2, rng.uniform(0, 1, 3).tolist(), 3)
    cv2.rectangle(image, (0, 0), (SIZE - 1, SIZE - 1), rng.uniform(0.05, 0.6, 3).tolist(), 18)
    return image[::-1].copy()


def books(rng: np.random.Generator) -> Colours:
    """Spines of books side by side; v runs upwards."""
    image = np.full((SIZE, SIZE, 3), 0.06)
    x = 0
    while x < SIZE:
        width, height = int(rng.integers(6, 26)), int(SIZE * rng.uniform(0.68, 0.97))
        tone = rng.uniform(0.08, 0.9, 3)
        image[:height, x : x + width] = tone
        for _ in range(int(rng.integers(0, 4))):
            y = int(rng.integers(10, height - 20))
            image[y : y + int(rng.integers(3, 30)), x + 2 : x + width - 2] = rng.uniform(0.1, 1.0, 3)
        image[:height, x : x + 1] *= 0.4
        x += width
    return image * (0.8 + 0.3 * noise(rng, 0.5))[..., None]


def paint_coat(rng: np.random.Generator) -> Colours:
    """Even paint with a broad sheen; it is white, so that the tint determines the colour."""
    return np.ones((SIZE, SIZE, 3)) * (0.82 + 0.18 * noise(rng, 1.8))[..., None]


def glass(rng: np.random.Generator) -> Colours:
    """A dark pane that reflects the sky."""
    return blend(np.array([0.04, 0.05, 0.06]), np.array([0.5, 0.56, 0.62]), np.clip(noise(rng, 1.7) * 1.3 - 0.25, 0, 1))


def metal(rng: np.random.Generator) -> Colours:
    """Worn metal, painted or galvanised."""
    return np.ones((SIZE, SIZE, 3)) * (0.6 + 0.3 * noise(rng, 1.0) + 0.2 * (noise(rng, 0.3) - 0.5))[..., None]


def door(rng: np.random.Generator) -> Colours:
    """A door leaf with panels and a handle."""
    image = wood(rng) if rng.random() < 0.5 else paint_coat(rng) * colour(rng, (0.9, 0.9, 0.88), (0.4, 0.25, 0.2))
    dark = (image.mean((0, 1)) * 0.5).tolist()
    for y0, y1 in ((20, 120), (140, 236)):
        for x0, x1 in ((30, 118), (138, 226)):
            cv2.rectangle(image, (x0, y0), (x1, y1), dark, 4)
    cv2.circle(image, (235, 122), 9, (0.85, 0.8, 0.6), -1)
    return image


def outlook(rng: np.random.Generator) -> Colours:
    """The view through a window: sky over hills or trees; v runs upwards."""
    y = np.linspace(0.0, 1.0, SIZE)[:, None]
    zenith = colour(rng, (0.5, 0.7, 0.95), (0.8, 0.85, 0.9))
    bright = blend(np.array([0.95, 0.96, 0.97]), zenith, y * np.ones((1, SIZE)))
    clouds = np.clip(1.6 * noise(rng, 1.5) - 0.4, 0.0, 1.0)
    land = colour(rng, (0.35, 0.45, 0.2), (0.5, 0.48, 0.4)) * (0.5 + 0.8 * noise(rng, 0.7))[..., None]
    line = rng.uniform(0.2, 0.5) + 0.35 * (noise(rng, 1.2)[:1] - 0.5)
    return blend_mask(blend(bright, np.ones(3), clouds), land, (y < line).astype(float))


def cloud(rng: np.random.Generator) -> Colours:
    """The thickness of clouds."""
    return np.repeat(noise(rng, 1.6)[..., None], 3, axis=2)


def stain(rng: np.random.Generator) -> Colours:
    """Large soft patches, which hide the repetition of other textures."""
    return np.repeat(noise(rng, 1.1)[..., None], 3, axis=2)


MAKERS: dict[str, tuple[Callable[[np.random.Generator], Colours], int]] = {
    "plaster": (plaster, 4), "concrete": (concrete, 2), "asphalt": (asphalt, 1), "cover": (ground_cover, 3),
    "foliage": (foliage, 4), "bark": (bark, 2), "wood": (wood, 4), "bricks": (bricks, 4), "paving": (paving, 3),
    "facade": (facade, 10), "roof": (roof, 3), "fabric": (fabric, 6), "carpet": (carpet, 2), "poster": (poster, 8),
    "books": (books, 3), "paint": (paint_coat, 2), "glass": (glass, 2), "metal": (metal, 2), "door": (door, 3),
    "cloud": (cloud, 1), "stain": (stain, 1), "outlook": (outlook, 3),
}  # fmt: skip


class Atlas:
    """All textures of a scene; ``atlas["bricks"]`` is the list of the indices of that kind.

    Attributes:
        texels: (K, texels, 4) uint8 red, green, blue and opacity, with the mip levels one after the other.
    """

    def __init__(self, seed: int) -> None:
        self.indices: dict[str, list[int]] = {}
        rows: list[NDArray[np.uint8]] = []
        for order, (name, (maker, count)) in enumerate(MAKERS.items()):
            self.indices[name] = list(range(len(rows), len(rows) + count))
            for i in range(count):
                rng = np.random.default_rng([seed, 7919, order, i])
                rows.append(_mip_levels(np.clip(maker(rng), 0.0, 1.0)))
        self.texels = np.stack(rows)

    @classmethod
    def of(cls, texels: NDArray[np.uint8]) -> Atlas:
        """Return the atlas of an existing scene from its texels."""
        atlas = cls.__new__(cls)
        ends = np.cumsum([count for _, count in MAKERS.values()]).tolist()
        atlas.indices = {
            name: list(range(end - count, end)) for (name, (_, count)), end in zip(MAKERS.items(), ends, strict=True)
        }
        atlas.texels = texels
        return atlas

    def __getitem__(self, name: str) -> list[int]:
        return self.indices[name]


def _mip_levels(image: Colours) -> NDArray[np.uint8]:
    """Return all mip levels of an image. Its darkest third is transparent, as the gaps between leaves."""
    light = image.mean(axis=2)
    gaps = np.quantile(light, 0.3)
    image = np.concatenate([image, (light > gaps).astype(float)[..., None]], axis=2).astype(np.float32)
    levels = []
    for level in range(LEVELS):
        levels.append(np.round(image * 255.0).astype(np.uint8).reshape(-1, 4))
        if level < LEVELS - 1:
            image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate(levels)
