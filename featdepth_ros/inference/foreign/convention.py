"""Input and output formats of third-party depth networks: named conventions, and YAML files."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from featdepth_ros.errors import ConfigError, nearest_name

Kind = Literal["depth", "inverse_depth", "canonical_depth"]
Layout = Literal["NCHW", "NHWC"]
Colour = Literal["rgb", "bgr"]

#: Depth of invalid pixels, and the largest depth of all. It is beyond every possible depth range.
FARTHEST = 1e4
_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Convention:
    """Input and output format of a depth network.

    Attributes:
        kind: ``depth`` in metres; ``inverse_depth``, relative: 1 / z = a d + b with one a and one b per frame;
            ``canonical_depth``: metres for a camera with `canonical_focal_px`.
        size: (height, width) in pixels of its input. One of the three sizes is required if the file has no fixed size.
        short_side: pixels of the shorter side; the other side follows from the aspect ratio of the image.
        long_side: pixels of the longer side; the other side follows from the aspect ratio of the image.
        multiple: number of which both sides are multiples.
        layout: layout of the input: channels first or last.
        colour: order of the colour channels.
        mean, std: of each channel in [0, 1]; the input is (value - mean) / std.
        input, output: names of input and output; empty: the only input, the first output.
        canonical_focal_px: for ``canonical_depth``: metres are the output times the focal length of the input image in
            pixels, divided by this value.
        invalid_output: name of an output that marks invalid pixels, such as sky; empty: none.
        invalid_above: values of that output above this mark an invalid pixel.
        invalid_below: values of that output below this mark an invalid pixel, as for a confidence; None: no limit.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.
    """

    kind: Kind
    size: tuple[int, int] | None = None
    short_side: int | None = None
    long_side: int | None = None
    multiple: int = 1
    layout: Layout = "NCHW"
    colour: Colour = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    input: str = ""
    output: str = ""
    canonical_focal_px: float | None = None
    invalid_output: str = ""
    invalid_above: float = 0.5
    invalid_below: float | None = None

    def __post_init__(self) -> None:
        for name, choices in (("kind", Kind), ("layout", Layout), ("colour", Colour)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(
                    f"'{name}' is '{getattr(self, name)}'; expected one of {', '.join(get_args(choices))}"
                )
        if sum(side is not None for side in (self.size, self.short_side, self.long_side)) > 1:
            raise ConfigError("'size', 'short_side' and 'long_side' are alternatives, several are set; set only one")
        sides = [*(self.size or ()), *(side for side in (self.short_side, self.long_side) if side is not None)]
        if any(side < 16 for side in sides) or self.multiple < 1:
            raise ConfigError("sides are pixels, at least 16, and 'multiple' is at least 1")
        if not all(math.isfinite(value) for value in self.mean) or not all(value > 0 for value in self.std):
            raise ConfigError(f"'mean' is {self.mean} and 'std' is {self.std}; expected three numbers, std above 0")
        if (self.kind == "canonical_depth") != (self.canonical_focal_px is not None):
            raise ConfigError("expected 'canonical_focal_px' for kind canonical_depth, and for no other kind")
        if self.canonical_focal_px is not None and not self.canonical_focal_px > 0:
            raise ConfigError(f"'canonical_focal_px' is {self.canonical_focal_px}; expected pixels above 0")

    def fitting(self, width: int, height: int) -> tuple[int, int] | None:
        """Return (height, width) of the input for images of ``width`` x ``height``; None: the file must fix it."""
        if self.size is not None:
            return self.size
        if self.short_side is not None:
            factor = self.short_side / min(width, height)
        elif self.long_side is not None:
            factor = self.long_side / max(width, height)
        else:
            return None
        up = self.short_side is not None
        return self._rounded(height * factor, up), self._rounded(width * factor, up)

    def _rounded(self, side: float, at_least: bool) -> int:
        """Round to the nearest multiple, but not below a short side nor above a long one."""
        nearest = self.multiple * round(side / self.multiple)
        bound = self.short_side if at_least else self.long_side
        assert bound is not None
        if at_least and nearest < bound:
            nearest += self.multiple
        if not at_least and nearest > bound:
            nearest -= self.multiple
        return max(nearest, self.multiple)


#: Conventions of known networks, taken from the code of their authors.
NAMED: dict[str, Convention] = {
    # github.com/DepthAnything/Depth-Anything-V2, depth_anything_v2/dpt.py: image2tensor (lower_bound 518, multiple of
    # 14), forward (ReLU of a relative inverse depth).
    "depth-anything-v2": Convention("inverse_depth", short_side=518, multiple=14, **_IMAGENET),
    # The same repository, metric_depth/depth_anything_v2/dpt.py: a sigmoid times max_depth, metres.
    "depth-anything-v2-metric": Convention("depth", short_side=518, multiple=14, **_IMAGENET),
    # github.com/ByteDance-Seed/Depth-Anything-3, README (metres = focal * output / 300), and in src/depth_anything_3:
    # utils/io/input_processor.py (upper_bound_resize to 504, multiples of 14), model/da3.py (sky above 0.3).
    "da3-metric": Convention(
        "canonical_depth",
        long_side=504,
        multiple=14,
        canonical_focal_px=300.0,
        output="depth",
        invalid_output="sky",
        invalid_above=0.3,
        **_IMAGENET,
    ),
    # github.com/isl-org/MiDaS, hubconf.py: small_transform (upper_bound 256, multiple of 32), relative inverse depth.
    "midas-small": Convention("inverse_depth", long_side=256, multiple=32, **_IMAGENET),
}


def read_convention(name: str, network: Path) -> Convention:
    """Return the convention of a network.

    Args:
        name: name of a convention in `NAMED`, or path of a YAML file; empty: ``<network>.yaml`` beside the network.
        network: the ONNX file.

    Raises:
        ConfigError: the convention does not exist, or the file is invalid.
    """
    if name in NAMED:
        return NAMED[name]
    path = Path(name).expanduser() if name else network.with_suffix(".yaml")
    if not path.is_file():
        if name:
            raise ConfigError(f"convention is '{name}', neither a file nor a known name{nearest_name(name, NAMED)}")
        raise ConfigError(
            f"'{network}' was not exported by this package, and '{path.name}' is not beside it; name the format of the "
            f"network with --convention (known: {', '.join(NAMED)}), or write that file"
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"'{path}' cannot be read: {error}") from error
    return _from_raw(raw, path)


def _from_raw(raw: Any, path: Path) -> Convention:
    known = [field.name for field in fields(Convention)]
    if not isinstance(raw, dict) or "kind" not in raw:
        raise ConfigError(f"'{path}' has no 'kind'; expected one of {', '.join(get_args(Kind))}")
    for key in raw:
        if key not in known:
            raise ConfigError(f"'{path}' has the unknown key '{key}'{nearest_name(str(key), known)}")
    lengths = {"size": 2, "mean": 3, "std": 3}
    try:
        values: dict[str, Any] = {key: tuple(value) if key in lengths else value for key, value in raw.items()}
        for key, length in lengths.items():
            if key in values and (
                len(values[key]) != length or not all(isinstance(v, int | float) for v in values[key])
            ):
                raise ConfigError(f"'{key}' is {list(values[key])}; expected {length} numbers")
        return Convention(**values)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"'{path}': {error}") from error
