"""Conventions: sizes as the authors' own code chooses them, and files that say what a network expects and gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.foreign.convention import NAMED, Convention, read_convention


def test_sizes_are_those_of_the_authors_code() -> None:
    # Depth Anything V2 and MiDaS: Resize of their transforms, for a picture of 640x480 and one of 1242x375
    assert NAMED["depth-anything-v2"].fitting(640, 480) == (518, 686)
    assert NAMED["depth-anything-v2"].fitting(1242, 375) == (518, 1722)
    assert NAMED["midas-small"].fitting(640, 480) == (192, 256)
    assert NAMED["da3-metric"].fitting(1242, 375) == (154, 504)
    assert Convention("depth", size=(100, 50)).fitting(640, 480) == (100, 50)


def test_a_convention_is_read_from_the_file_beside_the_network(tmp_path: Path) -> None:
    network = tmp_path / "other.onnx"
    (tmp_path / "other.yaml").write_text("kind: inverse_depth\nsize: [256, 320]\nmean: [0.5, 0.5, 0.5]\nlayout: NHWC\n")
    found = read_convention("", network)
    assert found == Convention("inverse_depth", size=(256, 320), mean=(0.5, 0.5, 0.5), layout="NHWC")
    assert read_convention(str(tmp_path / "other.yaml"), Path("elsewhere.onnx")) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: disparity\n", "'kind' is 'disparity'"),
        ("kind: depth\nmeam: [0, 0, 0]\n", "did you mean 'mean'"),
        ("size: [1, 2]\n", "has no 'kind'"),
        ("kind: depth\nsize: [256, 256]\nshort_side: 518\n", "are alternatives"),
        ("kind: depth\nmean: [0.5, 0.5]\n", "expected 3 numbers"),
        ("kind: canonical_depth\n", "canonical_focal_px"),
        ("kind: [\n", "cannot be read"),
    ],
)
def test_a_convention_that_says_nothing_clear_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_convention("", tmp_path / "other.onnx")
