"""A real S3 server on this machine: recordings are prepared from it and into it, and training reads from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import write_config
from test_prepare_many import CAMERA, folder_of, prepared

from featdepth_ros.cli.main import main
from featdepth_training.data.store import LOCAL_COPIES, LOCAL_LIMIT_GB

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: make test-nightly")
server = pytest.importorskip("moto.server", reason="moto is not installed: make test-nightly")

pytestmark = [pytest.mark.slow]

BUCKET = "s3://recordings"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[None]:
    """The server; every process that is started from here finds it by the environment."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        yield
    running.stop()


@pytest.fixture
def store(endpoint: None) -> Iterator[Any]:
    """A file system with an empty bucket."""
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.mkdir(BUCKET)
    yield fs
    fs.invalidate_cache()
    fs.rm(BUCKET, recursive=True)


def recipe(**prepared_: Any) -> dict[str, Any]:
    """Two steps on whatever caches there are."""
    return {
        "model": {"initial": "none", "input_size": [64, 96], "focal": None},
        "data": {"kind": "prepared", "prepared": prepared_, "workers": 1, "augment": {"haze": 0.0}},
        "stages": [{"steps": 2, "sizes": [[64, 96]], "batch_size": 2}],
        "objective": {"photometric": 1.0, "smoothness": 1e-3},
        "engine": {"tensorboard": False, "threads": 1, "log_every": 1},
    }


@pytest.mark.parametrize("storage", ["raw", "jpeg"])
def test_from_recordings_to_weights(store: Any, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes prepare; a run reads with a loader process; copies of shards stay below their limit."""
    for number in (1, 2, 3):
        store.put(f"{folder_of(tmp_path / f'drive_{number}', 6)}/", f"{BUCKET}/drives/drive_{number}/", recursive=True)
    asked = (f"{BUCKET}/drives/*", "--output", f"{BUCKET}/caches", *CAMERA, "--store", storage)
    assert prepared(*asked, "--jobs", "2") == 0
    shards = store.glob(f"{BUCKET}/caches/drive_*/shard_*.tar")
    assert len(shards) == 3
    made = [store.info(path)["LastModified"] for path in shards]
    store.rm(f"{BUCKET}/drives", recursive=True)  # what is finished is not fetched again
    named = [f"{BUCKET}/drives/drive_{number}" for number in (1, 2, 3)]
    assert prepared(*named, *asked[1:]) == 0
    assert [store.info(path)["LastModified"] for path in shards] == made

    copies, size = tmp_path / "copies", store.info(shards[0])["size"]
    monkeypatch.setenv(LOCAL_COPIES, str(copies))
    monkeypatch.setenv(LOCAL_LIMIT_GB, str(2.5 * size / 1e9))
    config = write_config(tmp_path / "run.yaml", recipe(caches=[f"{BUCKET}/caches"], held_out=0.2))
    figures = tmp_path / "figures.json"
    arguments = ["--config", str(config), "--device", "cpu", "--json", str(figures)]
    assert main(["train", *arguments, "--output", str(tmp_path / "run")]) == 0
    assert json.loads(figures.read_text())["steps"] == 2
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert 1 <= len(list(copies.glob("*.tar"))) <= 2


def test_what_cannot_be_done_is_said(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's folder is no bucket; a bucket that is not there, an empty one, and a shard that has gone."""
    config = write_config(tmp_path / "run.yaml", recipe(caches=[f"{BUCKET}/nothing"]))
    run = ["train", "--config", str(config), "--device", "cpu", "--output"]
    assert main([*run, f"{BUCKET}/run"]) == 1
    assert "a URL" in capsys.readouterr().err
    assert main([*run, str(tmp_path / "run")]) == 1
    assert f"no cache at {BUCKET}/nothing" in capsys.readouterr().err
    assert prepared("s3://nowhere/drives", "--output", tmp_path / "cache", *CAMERA) == 1
    assert "could not fetch s3://nowhere/drives" in capsys.readouterr().err
    assert prepared(folder_of(tmp_path / "drive", 6), "--output", f"{BUCKET}/cache", *CAMERA) == 0
    store.rm(f"{BUCKET}/cache/shard_00000.tar")
    capsys.readouterr()
    config = write_config(tmp_path / "run.yaml", recipe(caches=[f"{BUCKET}/cache"], held_out=0.2))
    assert main([*run, str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "could not fetch shard_00000.tar" in said and "Traceback" not in said
