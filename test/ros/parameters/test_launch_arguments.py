"""Values of launch arguments, which are text."""

from __future__ import annotations

import pytest

from featdepth_ros.ros.parameters.launch_arguments import switch


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "on"])
def test_a_switch_is_on(text: str) -> None:
    assert switch("rviz", text) is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "off"])
def test_a_switch_is_off(text: str) -> None:
    assert switch("rviz", text) is False


@pytest.mark.parametrize("text", ["", "maybe", "2"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"launch argument 'rviz' is .*; expected true or false"):
        switch("rviz", text)
