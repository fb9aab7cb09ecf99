from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featdepth_ros.ros.doctor.machine import Machine, inspect_machine, machine_findings

SOUND = Machine(processors=8, memory_mb=8000.0, shared_memory_mb=2000.0, missing=(), gpu=False, cuda="", environment={})


def codes(machine: Machine, weights: str = "compact") -> list[str]:
    return [finding.code for finding in machine_findings(machine, weights)]


def test_a_sound_machine_has_no_findings() -> None:
    assert codes(SOUND) == []
    assert codes(replace(SOUND, gpu=True, cuda="a GPU")) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"missing": ("numba",)}, "machine.packages"),
        ({"gpu": True}, "machine.gpu"),
        ({"shared_memory_mb": 60.0}, "machine.shared_memory"),
        ({"memory_mb": 300.0}, "machine.memory"),
        ({"processors": 1}, "machine.processors"),
        ({"environment": {"FASTDDS_DEFAULT_PROFILES_FILE": "/not/there.xml"}}, "machine.profile"),
    ],
)
def test_what_a_machine_lacks_is_found(changes: dict[str, Any], code: str) -> None:
    assert codes(replace(SOUND, **changes)) == [code]


def test_weights_that_cannot_be_used_are_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\0" * 100)
    assert codes(SOUND, str(broken)) == codes(SOUND, "compakt") == ["weights.unusable"]


def test_this_machine_is_looked_at() -> None:
    machine = inspect_machine()
    assert machine.missing == () and machine.processors >= 1
    assert machine.memory_mb is None or machine.memory_mb > 0
