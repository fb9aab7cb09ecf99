from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_clips import SIZE, drawn_clip, sources, tiny_config

from featdepth_ros.errors import ConfigError, RecordingError
from featdepth_training.config.schema import AugmentConfig, SequenceConfig
from featdepth_training.data.batch import collate
from featdepth_training.data.cache import ClipCache, write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.data.loader import train_loader
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.sampling import Plan
from featdepth_training.data.source import SampleKey, Source, sources_of
from featdepth_training.engine.step import ALONE

PAIR = SequenceConfig(standing=0.0, reverse=0.0)


def test_cache_goes_on_after_a_stop_and_refuses_other_settings(tmp_path: Path) -> None:
    made: list[int] = []

    def make(index: int) -> Clip:
        made.append(index)
        return drawn_clip(index)

    def stop_at(index: int) -> Clip:
        if index == 3:
            raise KeyboardInterrupt
        return make(index)

    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path, {"a": 1}, 5, 2, stop_at)
    write_cache(tmp_path, {"a": 1}, 5, 2, make)
    assert made == [0, 1, 2, 2, 3, 4]  # the second shard was not whole, the first was
    cache = ClipCache([(tmp_path, 5)])
    for index in range(5):
        np.testing.assert_array_equal(cache[index].images, drawn_clip(index).images)
        np.testing.assert_array_equal(cache[index].poses, drawn_clip(index).poses)
    with pytest.raises(ConfigError, match="another a"):
        write_cache(tmp_path, {"a": 2}, 5, 2, make)
    with pytest.raises(RecordingError, match="expected 6"):
        ClipCache([(tmp_path, 6)])


def test_every_clip_once_an_epoch_across_stages(clips: ClipCache) -> None:
    config = tiny_config()
    plan = Plan(config, sources(clips), ALONE)
    keys = [k for step in range(config.total_steps) for micro in plan.micro_batches(step) for k in micro]
    assert [k.number for k in keys] == list(range(7))  # 3 steps of 2, 1 step of 1
    assert sorted(k.clip for k in keys[:5]) == list(range(5))
    assert {(k.height, k.width) for k in keys[:6]} == {(64, 96)}
    assert {(k.height, k.width) for k in keys[6:]} == {(64, 64)}


def test_samples_do_not_depend_on_where_loading_began(clips: ClipCache) -> None:
    config = tiny_config()
    dataset = ClipDataset(sources(clips), config.data.sequence, config.data.augment, config.seed)
    plan = Plan(config, dataset.sources, ALONE)
    whole, late = list(train_loader(dataset, plan, 0)), list(train_loader(dataset, plan, 2))
    assert len(whole) == 4 and len(late) == 2
    for a, b in zip(whole[2:], late, strict=True):
        for name in vars(a):
            torch.testing.assert_close(vars(a)[name], vars(b)[name], rtol=0, atol=0, equal_nan=True)
    before = torch.get_rng_state()
    next(iter(train_loader(dataset, plan, 0)))
    assert torch.equal(before, torch.get_rng_state())


def test_plain_pair_keeps_intrinsics_motion_and_depth(clips: ClipCache) -> None:
    pair = ClipDataset(sources(clips), PAIR, None, 0)[SampleKey(0, 0, 2, *SIZE)]
    torch.testing.assert_close(pair.intrinsics, torch.tensor([80.0, 80.0, 63.5, 35.5]))
    # The camera went 0.5 m ahead and 0.1 m right: points of the earlier frame come nearer and go left.
    torch.testing.assert_close(pair.T_next_frame[0, :3, 3], torch.tensor([-0.1, 0.0, -0.5]))
    assert float(pair.depth[0, 0, 40, 64]) == 6.0 and float(pair.depth[1, 0, 40, 64]) == 5.5
    assert torch.isinf(pair.depth[0, 0, 3, 5])


@pytest.mark.parametrize(("zoom", "size"), [(1.0, (16, 32)), (3.0, (64, 96))])
def test_a_cut_out_keeps_the_ray_of_every_pixel(zoom: float, size: tuple[int, int]) -> None:
    """The colours name the pixel they come from, and the sample's camera must see it along the clip's own ray."""
    v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    image = np.stack([2 * u, 2 * v, 0 * u], axis=2).astype(np.uint8)
    intrinsics = np.array([80.0, 70.0, 60.0, 30.0])
    clip = Clip(np.stack([image, image]), np.ones((2, *SIZE), np.float32), np.stack([np.eye(4)] * 2), intrinsics, 0)
    augment = AugmentConfig(zoom=(zoom, zoom), shift=0.1, flip=0.0, stretch=0.0)
    sample = ClipDataset([Source("ramp", [clip], 1.0, True, SIZE)], PAIR, augment, 0)[SampleKey(0, 0, 0, *size)]
    inner = sample.images[0, :2, 4:-4, 4:-4].double().mean(dim=(1, 2)).numpy() / 2  # borders are repeated
    middle = (np.array(size[::-1]) - 1) / 2
    fx, fy, cx, cy = sample.intrinsics.double().numpy()
    expected = (inner - intrinsics[2:]) / intrinsics[:2]
    np.testing.assert_allclose((middle - [cx, cy]) / [fx, fy], expected, atol=0.1 / 80)


def test_mirrored_and_zoomed_pairs_keep_their_geometry(clips: ClipCache) -> None:
    """Points at true depth, moved by the sample's motion, land where the clip's own camera would see them, mirrored."""
    augment = AugmentConfig(zoom=(1.3, 1.3), shift=0.1, flip=1.0, stretch=0.1)
    key = SampleKey(7, 0, 1, 64, 96)
    mirrored = ClipDataset(sources(clips), PAIR, augment, 5)[key]
    augment = AugmentConfig(zoom=(1.3, 1.3), shift=0.1, flip=0.0, stretch=0.1)
    upright = ClipDataset(sources(clips), PAIR, augment, 5)[key]
    assert torch.equal(mirrored.images, upright.images.flip(-1))

    def lands(pair: object, u: float, v: float, z: float) -> np.ndarray:
        fx, fy, cx, cy = vars(pair)["intrinsics"].double().numpy()
        point = np.array([(u - cx) / fx * z, (v - cy) / fy * z, z, 1.0])
        moved = vars(pair)["T_next_frame"][0].double().numpy() @ point
        return np.array([fx * moved[0] / moved[2] + cx, fy * moved[1] / moved[2] + cy])

    one, two = lands(upright, 20.0, 30.0, 5.0), lands(mirrored, 96 - 1 - 20.0, 30.0, 5.0)
    np.testing.assert_allclose(two, [96 - 1 - one[0], one[1]], atol=1e-4)
    # Zoomed: the same field of view covers more pixels.
    assert float(upright.intrinsics[0]) > 1.2 * 80 * 96 / 128


def test_masks_of_what_moves_come_along_cut_and_mirrored(tmp_path: Path) -> None:
    """Of two caches one says what moves: its masks lie where its depth does, the other's samples have none."""
    near = drawn_clip(0).depth
    assert near is not None
    marked = np.asarray(near, np.float32) < np.nanmedian(np.asarray(near, np.float32))

    def make(index: int) -> Clip:
        return dataclasses.replace(drawn_clip(0), moving=marked)

    write_cache(tmp_path / "busy", {"a": 1}, 2, 2, make)
    write_cache(tmp_path / "empty", {"a": 1}, 2, 2, drawn_clip)
    both = sources_of(ClipCache([tmp_path / "busy", tmp_path / "empty"]), rendered=True)
    assert [source.moving for source in both] == [True, False]
    dataset = ClipDataset(both, PAIR, AugmentConfig(zoom=(1.3, 1.3), flip=1.0), 0)
    height, width = SIZE
    sample, other = dataset[SampleKey(0, 0, 0, height, width)], dataset[SampleKey(0, 1, 0, height, width)]
    assert sample.moving is not None and other.moving is not None
    assert torch.equal(sample.moving, sample.depth < float(np.nanmedian(np.asarray(near, np.float32))))
    assert 0.1 < float(sample.moving.float().mean()) < 0.9 and not other.moving.any()
    batch = collate([sample, other])
    assert batch.moving is not None and batch.first_frame().moving is not None
    assert ClipDataset(both[1:], PAIR, None, 0)[SampleKey(0, 0, 0, height, width)].moving is None


def test_standing_and_reversed_pairs(clips: ClipCache) -> None:
    key = SampleKey(0, 0, 0, 64, 96)
    standing = SequenceConfig(standing=1.0)
    still = ClipDataset(sources(clips), standing, AugmentConfig(), 0)[key]
    assert torch.equal(still.images[0], still.images[1])
    torch.testing.assert_close(still.T_next_frame, torch.eye(4)[None])
    back = SequenceConfig(standing=0.0, reverse=1.0)
    assert float(ClipDataset(sources(clips), back, AugmentConfig(), 0)[key].T_next_frame[0, 2, 3]) == pytest.approx(0.5)
