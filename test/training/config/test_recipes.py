"""Every recipe loads, goes round, and takes two steps on tiny recordings; narrow networks stand in for wide ones."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featdepth_ros.errors import ConfigError
from featdepth_ros.models import reference, resnet
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import load_model, save_model
from featdepth_ros.resources import config_file
from featdepth_training.config.loading import find_config, from_dict, load_config, to_dict
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.cache import write_cache
from featdepth_training.data.clip import Clip
from featdepth_training.engine.run import train
from featdepth_training.engine.trainer import Outcome
from featdepth_training.objectives.terms import TERMS, active_terms

RECIPES = sorted(path.stem for path in config_file("train/compact_rendered.yaml").parent.glob("*.yaml"))
#: Recipes that start from something: what stands in for it here.
STARTS = {
    "kitti_fm": "autoencoder",
    "kitti_odometry": "autoencoder",
    "euroc_fm": "autoencoder",
    "kitti_fm_refine": "fm",
}
QUICK = (
    "stages=[{steps: 2, sizes: [[64, 96]], batch_size: 1, accumulate: 2}]",
    *("model.pose_size=[64, 64]", "data.workers=0", "engine.tensorboard=false", "engine.threads=1"),
    *("engine.log_every=1", "check={}"),
)
#: One rendered cache for all recipes that render.
RENDERED = "clips: 2, validation_clips: 1, frames: 3, height: 64, width: 96, scenes: [room]"


def drawn_clip(number: int, frames: int, partner: bool, truth: bool = False) -> Clip:
    """Noise, shifted from frame to frame and between the cameras."""
    rng = np.random.default_rng(number)
    wide = rng.integers(0, 256, (72, 120, 3), dtype=np.uint8)
    images = np.stack([wide[:, 2 * k : 2 * k + 104] for k in range(frames)])
    T = np.eye(4)
    T[0, 3] = -0.5
    return Clip(
        images=images,
        depth=np.full((frames, 72, 104), 4.0, np.float32) if truth else None,
        poses=np.full((frames, 4, 4), np.nan),
        camera=np.array([60.0, 60.0, 51.5, 35.5]),
        partner=np.stack([wide[:, 2 * k + 5 : 2 * k + 109] for k in range(frames)]) if partner else None,
        T_partner_camera=T if partner else None,
    )


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``mono`` and ``pairs`` (three frames a clip) and ``singles`` (one frame, with its partner)."""
    root = tmp_path_factory.mktemp("caches")
    for name, frames, partner in (("mono", 3, False), ("pairs", 3, True), ("singles", 1, True)):
        made = {"made": name, "frames": frames}
        write_cache(root / name, made, 6, 3, lambda i, f=frames, p=partner: drawn_clip(i, f, p))  # type: ignore[misc]
    write_cache(root / "truth", {"made": "truth", "frames": 1}, 6, 3, lambda i: drawn_clip(i, 1, False, truth=True))
    return root


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Folder for runs, gone afterwards: their checkpoints take space."""
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published architectures of a few channels: hundreds of megabytes less to compute and to save."""
    monkeypatch.setattr(resnet, "PLANES", (16, 16, 16, 16))
    monkeypatch.setattr(reference, "_WIDTH", 16)
    monkeypatch.setattr(reference.ImageDecoder, "widths", (8, 8, 8, 8, 8))


def written(folder: Path, architecture: str, seed: int = 0) -> Path:
    """A weights file of random weights, as a run of the recipes before would have left it."""
    torch.manual_seed(seed)
    return save_model(folder / f"{architecture}.safetensors", build_model(architecture))


def loaded(recipe: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """The recipe, with a cache named where it leaves that to its user."""
    named = "caches: []" not in find_config(recipe).read_text(encoding="utf-8")
    return load_config(recipe, overrides if named or overrides else ["data.prepared.caches=[somewhere]"])


def changes(recipe: str, caches: Path, *more: str) -> list[str]:
    """What a test changes in a recipe: less of everything, and ResNet-18 in place of ResNet-50."""
    config, found = loaded(recipe), list(QUICK)
    if config.model.architecture != "compact":
        found += [f"model.architecture={config.model.architecture.replace('_r50', '_r18')}", "model.initial=none"]
    if config.data.kind != "rendered":
        frames, stereo = config.data.sequence.frames, config.data.sequence.stereo
        cache = "singles" if frames == 1 and stereo else "pairs" if stereo else "mono"
        cache = "truth" if config.data.kind == "prepared" and config.objective.supervised else cache
        alone = f", {caches / 'singles'}" if config.data.prepared.singles else ""
        singles = f"singles: [{'singles' * bool(alone)}]"
        found.append("objective.pseudo_depth=0")  # these caches hold none
        heights = f"camera_heights_m: {[1.5] * (1 + bool(alone)) if config.objective.ground > 0 else []}"
        found += [f"data.prepared={{caches: [{caches / cache}{alone}], {singles}, {heights}}}"]
    if config.data.kind != "prepared":
        pairs = config.data.rendered.baseline_m > 0
        cache, baseline = ("rendered_pairs", ", baseline_m: 0.2") if pairs else ("rendered", "")
        found.append(f"data.rendered={{cache: {caches / cache}, {RENDERED}{baseline}}}")
    return [*found, *more]


def records(output: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


def started(recipe: str, caches: Path, output: Path, more: Sequence[str] = (), finetune: str | None = None) -> Outcome:
    return train(recipe, output, changes(recipe, caches, *more), finetune=finetune)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_loads_goes_round_and_says_how_to_use_it(recipe: str) -> None:
    config = loaded(recipe)
    assert from_dict(to_dict(config)) == config
    head = find_config(recipe).read_text(encoding="utf-8").split("\nseed:")[0]
    assert f"featdepth train --config {recipe} --output" in head
    assert ("featdepth prepare" in head) == (config.data.kind != "rendered")
    assert re.search(r"\b(hours|minutes)\b", head), "the head of a recipe says how long it takes"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe: str, caches: Path, run: Path, tmp_path: Path, narrow: None) -> None:
    finetune = "compact" if loaded(recipe).model.frozen_blocks else None  # in place of ImageNet's weights
    more: list[str] = []
    if STARTS.get(recipe) == "autoencoder":
        more = [f"model.feature_net={written(tmp_path, 'autoencoder_r18')}"]
    if STARTS.get(recipe) == "fm":
        finetune = str(published(tmp_path, "mono_fm_r18"))
    outcome = started(recipe, caches, run, more, finetune)
    assert outcome.complete and outcome.steps == 2
    config = load_config(recipe, changes(recipe, caches, *more))
    model = load_model(outcome.weights)
    assert model.info.architecture == config.model.architecture
    assert model.info.max_depth == config.model.max_depth
    active = set(active_terms(config))
    steps = records(run, "train")
    assert [step["step"] for step in steps] == [1, 2] and steps[0]["skipped"] == 0
    for step in steps:
        terms = [name for name in TERMS if name in step]
        found = {name for name in terms if step[name] != 0}
        # A batch of a mixed run may hold samples of one kind only.
        assert found <= active if config.data.kind == "mixed" else found == active
        assert all(step[name] != round(step[name], 7) for name in found)  # whole, not rounded for a screen
        assert sum(step[name] for name in terms) == pytest.approx(step["total"], rel=1e-5)
        assert sum(step[f"share/{name}"] for name in terms) == pytest.approx(1.0, rel=1e-5)
    assert records(run, "validation")


def published(folder: Path, architecture: str) -> Path:
    """A file as mmcv writes it: ``state_dict`` beside ``meta``, nothing of depth range or scale."""
    torch.manual_seed(1)
    path = folder / "epoch_40.pth"
    torch.save({"meta": {"epoch": 40, "iter": 8}, "state_dict": build_model(architecture).state_dict()}, path)
    return path


@pytest.mark.slow
def test_the_chain_autoencoder_fm_refinement(caches: Path, run: Path, narrow: None) -> None:
    autoencoder = started("kitti_autoencoder", caches, run / "autoencoder").weights
    fm = started("kitti_fm", caches, run / "fm", [f"model.feature_net={autoencoder}"]).weights
    metres = ["model.metres_per_unit=1"]
    refined = started("kitti_fm_refine", caches, run / "refined", metres, finetune=str(fm)).weights
    nets = [load_model(path) for path in (autoencoder, fm, refined)]
    features = [
        {k.split(".", 1)[1]: v for k, v in net.state_dict().items() if k.split(".")[0] in ("Encoder", "extractor")}
        for net in nets
    ]
    assert features[0] and features[0].keys() == features[1].keys() == features[2].keys()
    for key, value in features[0].items():  # really frozen, running statistics included
        assert torch.equal(features[1][key], value) and torch.equal(features[2][key], value), key
    assert moved(nets[1], nets[2]) == {"DepthEncoder", "DepthDecoder", "PoseEncoder", "PoseDecoder"}
    assert [net.info.scale_kind for net in nets[1:]] == ["metric", "metric"]


def moved(before: FeatDepthModel, after: FeatDepthModel) -> set[str]:
    other = dict(after.named_parameters())
    return {name.split(".")[0] for name, value in before.named_parameters() if not torch.equal(value, other[name])}


@pytest.mark.slow
def test_a_resumed_run_still_names_what_it_started_from(caches: Path, run: Path, tmp_path: Path, narrow: None) -> None:
    start, preset = str(published(tmp_path, "baseline_r18")), "model.preset=kitti"
    overrides = changes("kitti_baseline", caches, preset, "model.metres_per_unit=36", "model.licence=mine")
    train("kitti_baseline", run, [*overrides, "stages.0.steps=1"], finetune=start, device="cpu")
    outcome = train("kitti_baseline", run, overrides, resume="", device="cpu")
    assert outcome.steps == 2
    assert load_model(outcome.weights).info.licence.startswith("mine; started from 'featdepth-kitti'")


@pytest.mark.slow
def test_stereo_and_single_cameras_in_one_run(caches: Path, run: Path) -> None:
    both = [f"data.prepared.caches=[{caches / 'pairs'}, {caches / 'mono'}]", "data.prepared.shares=[1, 1]"]
    outcome = train("mono_stereo", run, [*changes("mono_stereo", caches), *both], finetune="compact", device="cpu")
    assert outcome.complete
    assert {"pairs/photometric", "mono/photometric"} <= set(outcome.validation)
    assert load_model(outcome.weights).info.scale_kind == "metric"


def test_features_alone_are_compared(caches: Path, run: Path) -> None:
    outcome = started("mono", caches, run, ["objective.photometric=0", "objective.features=0.1"], "compact")
    assert outcome.complete and "photometric" not in outcome.validation
    assert all(step["features"] > 0 and step.get("photometric", 0) == 0 for step in records(run, "train"))


@pytest.mark.slow
def test_rendered_and_prepared_in_one_run(caches: Path, run: Path) -> None:
    mixed = ["data.kind=mixed", "objective.depth=1", "objective.gradient=0.5", "data.rendered_share=0.5"]
    rendered = f"data.rendered={{cache: {caches / 'rendered'}, {RENDERED}}}"
    overrides = [*changes("mono", caches), *mixed, rendered, "model.focal=[0.58, 0.9]", "seed=2"]
    stage = "stages=[{steps: 2, sizes: [[64, 96]], batch_size: 4}]"
    outcome = train("mono", run, [*overrides, stage], finetune="compact", device="cpu")
    assert outcome.complete
    step = records(run, "train")[-1]
    assert all(step[name] > 0 for name in ("depth", "gradient", "photometric", "features", "smoothness"))
    assert {"abs_rel", "photometric"} <= set(outcome.validation)


@pytest.mark.slow
def test_stereo_recipes_refuse_caches_without_partner(caches: Path, run: Path) -> None:
    for recipe, words in (("stereo", "prepare it with --stereo"), ("mono_stereo", "prepare with --stereo")):
        single = f"data.prepared.caches=[{caches / 'mono'}]"
        with pytest.raises(ConfigError, match=words):
            train(recipe, run / recipe, [*changes(recipe, caches), single], finetune="compact", device="cpu")


def commands(text: str) -> list[list[str]]:
    """The ``featdepth`` commands of a recipe's head or of a page, as words."""
    joined = re.sub(r"\\\n(?:#\s*)?", " ", text)
    lines = [re.sub(r"^#\s*", "", line) for line in joined.splitlines()]
    return [shlex.split(line.split("   (")[0])[1:] for line in lines if re.match(r"featdepth [a-z]+ [^`]*$", line)]


GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", [*RECIPES, "training.md"])
def test_written_commands_are_what_the_command_line_takes(place: str) -> None:
    text = GUIDE if place == "training.md" else find_config(place).read_text(encoding="utf-8").split("\nseed:")[0]
    found = commands(text)
    assert any(words[0] == "train" for words in found)
    for verb, *rest in found:
        if verb not in ("train", "prepare", "infer"):
            continue
        parser = argparse.ArgumentParser(exit_on_error=False)
        module = importlib.import_module(f"featdepth_ros.cli.{verb}")
        module.add_arguments(parser)
        args = parser.parse_args(rest)
        if verb == "train":
            load_config(args.config, args.overrides)
        if verb == "prepare":
            height, width = args.size
            assert height % 32 == 0 and width % 32 == 0


def test_the_guide_names_every_recipe() -> None:
    table = GUIDE.split("## Recipes")[1].split("###")[0]
    assert set(re.findall(r"`([a-z0-9_]+)`", table)) >= set(RECIPES)
    settings = re.findall(r"`\"?((?:model|data|objective|stages|optimiser|engine)\.[a-z_.0-9]+)", GUIDE)
    assert len(settings) > 15
    for key in {*settings} - {"model.safetensors"}:
        value: Any = to_dict(TrainConfig())
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else value.get(part, KeyError)
        assert value is not KeyError, key
