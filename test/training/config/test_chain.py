"""The chain of recipes behind the weights that ship, from recordings to two files, by the script that everyone runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from runs import records

from featdepth_ros import load_model
from featdepth_ros.resources import config_file

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "train_weights.sh"
RECIPES = ("compact_rendered", "compact_open", "compact_nc")
#: A few frames of each recording, on which matching is not slow either.
SHORT = """#!/bin/bash
more=()
if [ "$1" = prepare ]; then more=(--frames 0:24); case "$*" in *160:1018*) more=(--frames 160:184);; esac; fi
exec "%s" -m featdepth_ros.cli.main "$@" "${more[@]}"
"""
TINY = [
    *("model.initial=none", "model.frozen_blocks=0", "objective.features=0"),  # ImageNet's weights need not be there
    *(
        "data.rendered.clips=10",
        "data.rendered.validation_clips=10",
        "data.rendered.height=64",
        "data.rendered.width=128",
    ),
    *("stages=[{steps: 2, sizes: [[64, 96]], batch_size: 4}]", "engine.checkpoint_every=1", "engine.log_every=1"),
    *("engine.threads=1", "engine.tensorboard=false", "data.prepared.validation_clips=4"),
]


def test_the_script_names_the_recipes_that_there_are() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    named = [line.split()[1] for line in text.splitlines() if line.startswith("train ")]
    assert named == [*RECIPES, RECIPES[-1]]  # the last goes on from its own result
    for recipe in RECIPES:
        head = config_file(f"train/{recipe}.yaml").read_text(encoding="utf-8").split("\nseed:")[0]
        assert "hours on two free" in " ".join(head.replace("\n#", "").split()) and "GPU" in head
    # The last run reads the clips of compact_open, so it must have the same shares.
    recipe = yaml.safe_load(config_file("train/compact_open.yaml").read_text(encoding="utf-8"))
    shares = recipe["data"]["rendered"]["shares"]
    assert f'"data.rendered.shares={shares}"' in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("FEATDEPTH_NIGHTLY"), reason="takes minutes: make test-nightly")
def test_the_chain_runs_and_goes_on_where_it_was(test_data: Path, tmp_path: Path) -> None:
    shim = tmp_path / "featdepth"
    shim.write_text(SHORT % sys.executable)
    shim.chmod(0o755)
    output = tmp_path / "out"
    environment = {**os.environ, "FEATDEPTH": str(shim)}

    def chain() -> str:
        command = ["bash", str(SCRIPT), str(test_data), str(output), *TINY]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1700, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = chain()
    assert told.splitlines()[-1] == f"weights: {output}/compact-open.safetensors, {output}/compact-nc.safetensors"
    assert len(list(output.glob("caches/*/pseudo_depth_00000.npy"))) == 10
    for run in ("first", "open", "nc", "nc_more"):
        assert [r["step"] for r in records(output / run) if r["kind"] == "train"] == [1, 2]
    files = ("first/model.safetensors", "compact-open.safetensors", "compact-nc.safetensors")
    first, free, bound = (load_model(output / file).info.licence for file in files)
    assert (output / files[1]).stat().st_size < 0.6 * (output / "open/model.safetensors").stat().st_size
    assert "Apache" in first and free.startswith("Apache-2.0") and "non-commercial" not in free
    assert bound.startswith("non-commercial")
    # Stopped in the last run: what is done stays, the rest goes on from its newest checkpoint.
    before = (output / "open" / "model.safetensors").stat().st_mtime_ns
    (output / "nc_more" / "done").unlink()
    (output / "nc_more" / "checkpoints" / "step_00000002.pt").unlink()
    assert "training complete, 2 steps" in chain()
    assert (output / "open" / "model.safetensors").stat().st_mtime_ns == before
