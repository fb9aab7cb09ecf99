"""Every command in the pages parses: verbs, flags, values, keys of configurations; so do those behind torchrun."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from featdepth_ros.cli.main import _parser
from featdepth_training.config.loading import load_config

ROOT = Path(__file__).resolve().parents[1]
#: Pages, and how many commands each holds at least.
PAGES = {
    "../README.md": 3,
    "any-network.md": 1,
    "coming-from-featdepth.md": 11,
    "command-line.md": 17,
    "export.md": 5,
    "field.md": 2,
    "fleet.md": 4,
    "metres.md": 2,
    "training.md": 11,
}


def commands(text: str) -> list[list[str]]:
    """The words of every featdepth command in some shell code, lines that go on joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in joined.splitlines():
        match = re.search(r"(?:^|\s|')(?:featdepth|-m featdepth_ros\.cli\.main) ([a-z].*)", line)
        if match and not line.lstrip().startswith("#!"):
            found.append(shlex.split(match[1].rstrip("'"), comments=True))
    return found


def blocks(page: Path) -> str:
    return "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL))


def check(words: list[str]) -> None:
    """Parse a command; of `train` the overrides too, with a cache where the recipe asks for one."""
    args = _parser(words[0]).parse_args(words[1:])
    if words[0] == "train" and "." not in args.config:
        overrides = list(args.overrides)
        resume = args.resume
        if resume and "=" in resume:
            overrides.insert(0, resume)
        if not any(o.startswith("data.prepared") for o in overrides):
            overrides.append("data.prepared.caches=[somewhere]")
        rendered = "kind: prepared" not in (ROOT / f"config/train/{args.config}.yaml").read_text(encoding="utf-8")
        load_config(args.config, list(args.overrides) if rendered else overrides)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page(page: str) -> None:
    found = commands(blocks(ROOT / "docs" / page))
    assert len(found) >= PAGES[page]
    for words in found:
        check(words)


def test_a_wrong_flag_is_seen() -> None:
    for text in ("featdepth prepare x --output y --splits z", "featdepth eval depth --pred a --truths b"):
        with pytest.raises(SystemExit):
            check(commands(text)[0])
    with pytest.raises(Exception, match="did you mean"):
        check(commands("featdepth train --config kitti_fm --output x optimiser.lrr=1")[0])
    (words,) = commands("torchrun --nproc-per-node 8 -m featdepth_ros.cli.main train \\\n  --config mono --output x")
    assert words == ["train", "--config", "mono", "--output", "x"]


def test_the_tables_name_what_exists() -> None:
    """Recipes, modules, keys and flags in the page for those who come from the original."""
    page = (ROOT / "docs" / "coming-from-featdepth.md").read_text(encoding="utf-8")
    for name in re.findall(r"recipes? ((?:`[a-z0-9_]+`(?:, )?)+)", page):
        for recipe in re.findall(r"`([a-z0-9_]+)`", name):
            assert (ROOT / f"config/train/{recipe}.yaml").is_file(), recipe
    for module in re.findall(r"`(featdepth_(?:ros|training)\.[a-z_.0-9]+)`", page):
        assert (ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    keys = set(re.findall(r"`((?:model|data|objective|optimiser|schedule|engine)\.[a-z_.]+)`", page))
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    from featdepth_training.config.schema import TrainConfig

    def known(kind: type, prefix: str = "") -> set[str]:
        hints = get_type_hints(kind)
        names = {f"{prefix}{field.name}" for field in fields(kind)}
        return names.union(
            *(known(hints[f.name], f"{prefix}{f.name}.") for f in fields(kind) if is_dataclass(hints[f.name]))
        )

    originals = {"model.name", "data.name", "data.split", "data.in_path", "data.stereo_scale"}
    assert keys - originals <= known(TrainConfig), sorted(keys - originals - known(TrainConfig))
    assert len(keys) > 25
