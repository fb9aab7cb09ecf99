"""One reading of distortion, for drivers' messages and tools' files: names, counts and zeros."""

from __future__ import annotations

import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.messages.camera_info import distortion_of

FISHEYE = (-0.0093, 0.0462, -0.0434, 0.008)


@pytest.mark.parametrize(
    ("model", "count"),
    [("none", 5), ("none", 4), ("pinhole", 5), ("rational_polynomial", 5), ("Inverse Brown Conrady", 5), ("", 5),
     ("", 0), ("plumb_bob", 3), ("fov", 1)],
)  # fmt: skip
def test_zeros_are_no_distortion_whatever_the_name_and_the_count(model: str, count: int) -> None:
    assert distortion_of(model, [0.0] * count) == ("none", ())


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        ("equidistant", (*FISHEYE, 0.0), ("equidistant", FISHEYE)),  # a tracking camera's fifth zero
        ("Kannala_Brandt4", FISHEYE, ("equidistant", FISHEYE)),
        ("equidistant", (0.0,) * 5, ("equidistant", (0.0,) * 4)),  # still a fisheye
        ("Plumb_Bob", (0.1, 0.0, 0.0, 0.0, 0.0), ("plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))),
        ("plumb-bob", (0.1, 0.2, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0))),
        ("radial_tangential", (0.1, 0.2, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0))),
        ("Radial-Tangential", (0.1, 0.2, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0))),
        ("Brown-Conrady", (0.1, 0.2, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0))),
        ("rational polynomial", (0.1,) * 8, ("rational_polynomial", (0.1,) * 8)),
        ("kannala-brandt", FISHEYE, ("equidistant", FISHEYE)),
        ("PLUMB BOB", (0.1, 0.2, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0))),
        ("plumb_bob", (0.1, 0.2, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0), ("plumb_bob", (0.1, 0.2, 0.0, 0.0, 0.3))),
        ("plumb_bob", (0.1,) * 8, ("rational_polynomial", (0.1,) * 8)),
        ("rational_polynomial", (0.1,) * 8 + (0.0,) * 2, ("rational_polynomial", (0.1,) * 8)),
    ],
)  # fmt: skip
def test_names_and_surplus_zeros(model: str, values: tuple[float, ...], expected: object) -> None:
    assert distortion_of(model, values) == expected


@pytest.mark.parametrize(
    ("model", "values", "says"),
    [
        ("thin_prism", (0.1,) * 12, "is not known; known: brown_conrady, equi,"),
        ("pinhole", (0.1, 0.0, 0.0, 0.0, 0.0), "'pinhole' is not known"),
        ("equidistant", (*FISHEYE, 0.1), "has 5 coefficients; expected 4"),
        ("equidistant", (), "without coefficients"),
        ("plumb_bob", (0.1,) * 3, "has 3 coefficients; expected 4 or 5"),
        ("none", (0.1,) * 5, "no distortion model is named"),
    ],
)
def test_numbers_that_no_model_explains_are_refused(model: str, values: tuple[float, ...], says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        distortion_of(model, values)
