"""Caches: what a shard holds, who can read it, where it may lie, and what happens when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from featdepth_ros.errors import ConfigError, MissingDependencyError, RecordingError
from featdepth_training.data.cache import ClipCache, cache_folders, write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.shards import CachedFrame, describe, write_shard
from featdepth_training.data.store import Store

SIZE = (64, 80)
BASELINE = np.array([[1.0, 0, 0, -0.2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def made(index: int, frames: int = 3, stereo: bool = False) -> Clip:
    rng = np.random.default_rng(index)
    images = rng.integers(0, 256, (frames, *SIZE, 3), dtype=np.uint8)
    depth = rng.uniform(1, 50, (frames, *SIZE)).astype(np.float16)
    depth[:, :5], depth[:, 5:9] = np.inf, np.nan
    poses = np.stack([np.eye(4)] * frames)
    poses[:, 2, 3] = index + 0.1 * np.arange(frames)
    partner = rng.integers(0, 256, images.shape, dtype=np.uint8) if stereo else None
    stamps = np.arange(frames, dtype=np.int64) * 50_000_000 + 1_700_000_000_123_456_789
    camera = np.array([70.0, 71.0, 39.5, 31.25])
    return Clip(images, depth, poses, camera, 0, partner, BASELINE if stereo else None, stamps)


def stretches(folder: str | Path, lengths: list[int]) -> None:
    """A cache of one shard with stretches of these lengths; a frame's brightness is its number."""
    store, frames = Store(folder), []
    describe(store, {"made": "stretches"})
    for stretch, length in enumerate(lengths):
        for _ in range(length):
            image = np.full((*SIZE, 3), len(frames), np.uint8)
            frames.append(CachedFrame(image, np.ones(4), stretch, len(frames) * 10))
    write_shard(store, 0, 0, frames)


def shown(cache: ClipCache) -> list[list[int]]:
    return [cache[i].images[:, 0, 0, 0].tolist() for i in range(len(cache))]


def same(one: Clip, other: Clip) -> None:
    for name in ("images", "depth", "poses", "camera", "partner", "T_partner_camera", "stamps_ns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_cache(tmp_path, {"a": 1}, 5, 2, lambda i: made(i, stereo=True))
    cache = ClipCache([tmp_path])
    assert len(cache) == 5 and cache.frames == 3 and cache.has_partner and cache.has_depth
    for index in range(5):
        same(cache[index], made(index, stereo=True))
    with pytest.raises(IndexError):
        cache[5]


def test_any_webdataset_reader_streams_the_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_cache(tmp_path, {"a": 1}, 3, 2, lambda i: made(i, stereo=True))
    shards = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode())
    assert len(shards) == 2 and [s["__key__"] for s in samples] == [f"{n:08d}" for n in range(9)]
    for number, sample in enumerate(samples):
        clip, frame = made(number // 3, stereo=True), number % 3
        assert clip.depth is not None and clip.partner is not None
        np.testing.assert_array_equal(sample["image.npy"], clip.images[frame])
        np.testing.assert_array_equal(sample["partner.npy"], clip.partner[frame])
        np.testing.assert_array_equal(sample["depth.npy"], clip.depth[frame])
        meta = sample["meta.json"]
        assert meta["stamp_ns"] == int(clip.stamps_ns[frame]) and meta["stretch"] == number // 3
        assert meta["camera"] == clip.camera.tolist() and meta["pose"] == clip.poses[frame].tolist()
        assert meta["T_partner_camera"] == BASELINE.tolist()


def test_one_cache_serves_single_frames_pairs_and_triples(tmp_path: Path) -> None:
    stretches(tmp_path, [4, 1, 3])
    assert shown(ClipCache([tmp_path], frames=1)) == [[n] for n in range(8)]
    assert shown(ClipCache([tmp_path], frames=2)) == [[0, 1], [1, 2], [2, 3], [5, 6], [6, 7]]
    assert shown(ClipCache([tmp_path], frames=3)) == [[0, 1, 2], [1, 2, 3], [5, 6, 7]]
    assert shown(ClipCache([tmp_path], frames=2, gap=2)) == [[0, 2], [1, 3], [5, 7]]
    assert shown(ClipCache([(tmp_path, 2)], frames=2)) == [[0, 1], [1, 2], [2, 3]]
    with pytest.raises(RecordingError, match=r"no run of 5 neighbouring frames.*8 frames, at most 4 in a row"):
        ClipCache([tmp_path], frames=5)
    with pytest.raises(RecordingError, match="holds 3 clips; expected 4"):
        ClipCache([(tmp_path, 4)])
    # Every frame lies there once, whatever the clips.
    assert (tmp_path / "shard_00000.tar").stat().st_size < 8 * (3 * SIZE[0] * SIZE[1] + 4096) + 10240


def test_clips_go_on_across_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    describe(store, {"made": "by hand"})
    frames = [CachedFrame(np.full((*SIZE, 3), n, np.uint8), np.ones(4), 0) for n in range(5)]
    write_shard(store, 0, 0, frames[:2])
    write_shard(store, 1, 2, frames[2:])
    assert shown(ClipCache([tmp_path], frames=3)) == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_held_out_by_time_without_a_common_frame(tmp_path: Path, frames: int) -> None:
    """Also where a frame of another stretch lies between two of one."""
    store = Store(tmp_path)
    describe(store, {"made": "by hand"})
    order = [0, 0, 1, 0, 0, 2, 0, 0, 0, 3, 0, 0]
    write_shard(
        store, 0, 0, [CachedFrame(np.full((*SIZE, 3), n, np.uint8), np.ones(4), s) for n, s in enumerate(order)]
    )
    every = ClipCache([tmp_path], frames=frames)
    train, rest = every.split(0.3)
    trained = {n for clip in shown(train) for n in clip}
    kept_out = {n for clip in shown(rest) for n in clip}
    assert max(trained) < min(kept_out)
    assert len(rest) == round(0.3 * len(every)) and len(train) + len(rest) <= len(every)
    assert shown(every)[-len(rest) :] == shown(rest) and shown(every)[: len(train)] == shown(train)
    with pytest.raises(RecordingError, match="too few"):
        every.split(1.0)


def test_caches_side_by_side(tmp_path: Path) -> None:
    stretches(tmp_path / "a", [6])
    write_cache(tmp_path / "b", {}, 2, 2, lambda i: made(i, stereo=True))
    assert cache_folders(tmp_path) == [str(tmp_path / "a"), str(tmp_path / "b")]
    cache = ClipCache(cache_folders(tmp_path), frames=3)
    assert cache.names == ["a", "b"] and [cache.clips_of(g) for g in (0, 1)] == [range(4), range(4, 6)]
    assert [cache[i].group for i in range(6)] == [0, 0, 0, 0, 1, 1]
    assert [cache.has_partner_of(g) for g in (0, 1)] == [False, True] and not cache.has_partner
    assert [cache.has_depth_of(g) for g in (0, 1)] == [False, True] and not cache.has_depth
    assert cache.image_size_of(1) == SIZE and cache[0].partner is None and cache[0].T_partner_camera is None
    again = pickle.loads(pickle.dumps(cache))
    same(again[5], cache[5])
    train, rest = cache.split(0.25)
    assert [train.clips_of(g) for g in (0, 1)] == [rest.clips_of(g) for g in (0, 1)] == [range(1), range(1, 2)]
    same(train[1], made(0, stereo=True))
    same(rest[1], made(1, stereo=True))


class Numbers(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, cache: ClipCache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.cache[index].images)


def test_object_store_shards_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATDEPTH_SHARDS", str(tmp_path / "copies"))
    url = f"memory://{tmp_path.name}/caches"
    write_cache(f"{url}/one", {"a": 1}, 4, 2, made)
    write_cache(f"{url}/one", {"a": 1}, 4, 2, lambda i: pytest.fail("finished shards were made again"))
    assert cache_folders(url) == [f"{url}/one"]
    with pytest.raises(RecordingError, match="no cache at memory://"):
        cache_folders(f"{url}/two")
    cache = ClipCache(cache_folders(url))
    assert not (tmp_path / "copies").exists()
    same(cache[1], made(1))
    assert len(list((tmp_path / "copies").glob("*.tar"))) == 1
    # Worker processes that were forked use the copies, and fetch what is missing.
    loaded = list(torch.utils.data.DataLoader(Numbers(cache), batch_size=None, num_workers=2))
    for index, images in enumerate(loaded):
        np.testing.assert_array_equal(images.numpy(), made(index).images)
    assert sorted(p.suffix for p in (tmp_path / "copies").iterdir()).count(".partial") == 0
    memory = fsspec.filesystem("memory")
    for number in (0, 1):
        memory.rm(f"/{tmp_path.name}/caches/one/shard_0000{number}.tar")
    same(ClipCache([f"{url}/one"])[3], made(3))


def test_what_goes_wrong_with_a_remote_shard_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATDEPTH_SHARDS", str(tmp_path / "copies"))
    url = f"memory://{tmp_path.name}/cache"
    write_cache(url, {"a": 1}, 2, 1, made)
    memory = fsspec.filesystem("memory")

    def full(_: object, remote: str, local: str) -> None:
        Path(local).write_bytes(b"the first part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", full)
        with pytest.raises(RecordingError, match=r"copies.*FEATDEPTH_SHARDS names it.*no space is left"):
            ClipCache([url])[0]
    assert {path.suffix for path in (tmp_path / "copies").iterdir()} == {".lock"}
    path = f"/{tmp_path.name}/cache/shard_00001.tar"
    memory.pipe_file(path, memory.cat_file(path)[:-600])
    same(ClipCache([url])[0], made(0))
    with pytest.raises(RecordingError, match=r"shard_00001\.tar of memory://.* bytes; its index says"):
        ClipCache([url])[1]
    assert len(list((tmp_path / "copies").glob("*.tar"))) == 1


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere"):
        cache_folders("nowhere://bucket/cache")
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="s3"):
            cache_folders("s3://bucket/cache")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordingError, match="could not write"):
        write_cache(tmp_path / "file" / "cache", {}, 1, 1, made)


def test_a_full_disk_leaves_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync = os.fsync

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):  # the folder is synced after each file
            calls.append("fsync")
        if len(calls) > 4:  # the description, the first shard and its index, the second shard, then its index
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordingError, match=r"shard_00001\.json.*no space is left.*finished shards stay"):
        write_cache(tmp_path, {"a": 1}, 6, 2, made)
    monkeypatch.undo()
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))
    assert len(ClipCache([tmp_path])) == 2
    again: list[int] = []
    write_cache(tmp_path, {"a": 1}, 6, 2, lambda i: again.append(i) or made(i))  # type: ignore[func-returns-value]
    assert again == [2, 3, 4, 5]
    same(ClipCache([tmp_path])[5], made(5))


def test_a_killed_writer_leaves_whole_shards_only(tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import featdepth_training.data.shards as shards
        from featdepth_training.data.cache import write_cache
        from test_cache import made
        offsets, written = shards._offsets, []
        def kill(path):  # the second shard is on disk, not yet in its place
            written.append(path)
            if len(written) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return offsets(path)
        shards._offsets = kill
        write_cache({str(tmp_path / "cache")!r}, {{"a": 1}}, 6, 2, made)
        """)
    )
    done = subprocess.run([sys.executable, str(script)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    cache = tmp_path / "cache"
    assert sorted(p.name for p in cache.glob("shard_*")) == ["shard_00000.json", "shard_00000.tar"]
    assert len(list(cache.glob(".shard_00001.tar.*.partial"))) == 1
    first = (cache / "shard_00000.tar").stat().st_mtime_ns
    write_cache(cache, {"a": 1}, 6, 2, made)
    assert (cache / "shard_00000.tar").stat().st_mtime_ns == first
    assert not list(cache.glob(".*.partial"))  # of a process that is no more
    for index in range(6):
        same(ClipCache([cache])[index], made(index))


def test_damage_is_named(tmp_path: Path) -> None:
    write_cache(tmp_path / "a", {}, 4, 2, made)
    tar = tmp_path / "a" / "shard_00001.tar"
    whole = tar.read_bytes()
    offset = json.loads((tmp_path / "a" / "shard_00001.json").read_text())["frames"][4]["offset"]["image"]
    tar.chmod(0o644)
    tar.write_bytes(whole[: offset + 100] + bytes([whole[offset + 100] ^ 1]) + whole[offset + 101 :])
    cache = ClipCache([tmp_path / "a"])
    same(cache[1], made(1))
    with pytest.raises(RecordingError, match=r"shard_00001\.tar.*damaged at the image of frame 10"):
        cache[3]
    tar.write_bytes(whole[:-5000])
    with pytest.raises(RecordingError, match=r"shard_00001\.tar.*has \d+ bytes; its index says"):
        ClipCache([tmp_path / "a"])[2]
    tar.unlink()
    with pytest.raises(RecordingError, match=r"shard_00001\.tar.*is missing"):
        ClipCache([tmp_path / "a"])[2]
    (tmp_path / "a" / "shard_00001.json").write_text('{"frames": [')
    with pytest.raises(RecordingError, match=r"shard_00001\.json of .* is damaged"):
        ClipCache([tmp_path / "a"])


def test_older_caches_are_refused(tmp_path: Path) -> None:
    (tmp_path / "shard_00000").mkdir()
    (tmp_path / "cache.json").write_text(json.dumps({"format": 2, "recording": "drive"}))
    for use in (lambda: ClipCache([tmp_path]), lambda: write_cache(tmp_path, {}, 1, 1, made)):
        with pytest.raises(RecordingError, match=r"format 2 \(\.npy shards of an earlier version\).*featdepth prepare"):
            use()
    with pytest.raises(RecordingError, match="no cache"):
        ClipCache([tmp_path / "empty"])
    with pytest.raises(RecordingError, match="no cache was named"):
        ClipCache([])


def test_another_description_is_refused_by_its_difference(tmp_path: Path) -> None:
    describe(Store(tmp_path), {"seed": 1, "size": {"height": 64}})
    describe(Store(tmp_path), {"seed": 1, "size": {"height": 64}})
    with pytest.raises(ConfigError, match=r"another size\.height \(64, now 96\)"):
        describe(Store(tmp_path), {"seed": 1, "size": {"height": 96}})


def test_a_smaller_cache_grows(tmp_path: Path) -> None:
    write_cache(tmp_path, {}, 3, 2, made)
    write_cache(tmp_path, {}, 5, 2, made)
    for index in range(5):
        same(ClipCache([(tmp_path, 5)])[index], made(index))
    assert len(ClipCache([(tmp_path, 3)])) == 3
    shutil.rmtree(tmp_path)
