"""tools/gpu_check.sh completes on a CPU within its time limit, and reports the parts that failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(output: Path, *, limit_s: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "LIMIT_S": str(limit_s)}
    command = [str(ROOT / "tools" / "gpu_check.sh"), "--device", "cpu", "--output", str(output)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=limit_s + 60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_script_gets_through_on_a_processor(tmp_path: Path) -> None:
    done = run(tmp_path / "out", limit_s=800)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    assert figures["device"] == "cpu" and figures["resume_bit_equal"] is True
    assert set(figures["parity"]) == {"compact", "mono_fm_r18"}
    compact = figures["parity"]["compact"]
    assert compact["fp32"]["disparity"] < 1e-6 < compact["bf16"]["inverse depth"] < 5e-3
    assert figures["network"]["variants"]["torch fp32"]["ratio"] > 0
    assert figures["parts"]["loader"] == figures["parts"]["step"] == "not run on a CPU"
    table = (tmp_path / "out" / "gpu_check.md").read_text()
    assert "| resumed run bit-exact | True |" in table and "partial" not in table


def test_parts_that_did_not_get_through_are_told(tmp_path: Path) -> None:
    done = run(tmp_path / "out", limit_s=1)
    assert done.returncode == 1 and "parity: skipped, no time left" in done.stdout
    figures = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    assert figures["parity"] is None and figures["parts"]["resumed"] == "skipped, no time left"
    table = (tmp_path / "out" / "gpu_check.md").read_text()
    assert ": a partial result" in table and "| parity | skipped, no time left |" in table


def test_what_was_found_before_the_script_is_ended_is_reported(tmp_path: Path) -> None:
    """A python of a few lines stands in: it writes the figures of the first part, and then hangs."""
    output, stand_in = tmp_path / "out", tmp_path / "python"
    stand_in.write_text(
        "#!/bin/bash\n"
        f'case "$*" in *gpu_report*) exec {sys.executable} "$@" ;; esac\n'
        f"echo '{{}}' > {output}/parity.json; [[ $* = *bench.parity* ]] || exec sleep 100\n"
    )
    stand_in.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(stand_in), "PYTHONPATH": str(ROOT)}
    command = [str(ROOT / "tools" / "gpu_check.sh"), "--device", "cpu", "--output", str(output)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None and script.stdout.readline().startswith("parity: done in ")
        script.terminate()
        assert script.wait(60) == 1
    figures = json.loads((output / "gpu_check.json").read_text())
    assert figures["parity"] == {} and figures["network"] is None and list(figures["parts"]) == ["parity"]
    assert "| network | missing |" in (output / "gpu_check.md").read_text()
