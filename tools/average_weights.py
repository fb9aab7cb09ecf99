"""Write the average of several weights, value by value (model soups, Wortsman et al., ICML 2022).

    python tools/average_weights.py OUTPUT WEIGHTS=SHARE... [--name NAME]

The weights must be fine-tuned from each other or from common weights. The average of unrelated weights does not work.
The other contents (depth range, scale, licence) are those of the first weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from featdepth_ros import load_model
from featdepth_ros.errors import ConfigError
from featdepth_ros.models.checkpoints import save_model


def average(weights: Mapping[str, float], output: Path, name: str = "") -> Path:
    """Write the weighted mean of several weights, with kernels in half precision.

    Args:
        weights: names or files, each with its share; the shares need not add up to 1.
        output: safetensors file; an existing one is replaced.
        name: name of the new weights; default: that of the first weights.

    Returns:
        The path of the written file.

    Raises:
        ConfigError: there are fewer than two weights, the sum of the shares is not positive, or shapes differ.
    """
    total = sum(weights.values())
    if len(weights) < 2 or not total > 0:
        raise ConfigError(f"expected two or more weights with positive shares, found {dict(weights)}")
    models = [load_model(one) for one in weights]
    states = [model.state_dict() for model in models]
    shapes = [{key: tuple(value.shape) for key, value in state.items()} for state in states]
    for one, shape in zip(weights, shapes, strict=True):
        if shape != shapes[0]:
            raise ConfigError(
                f"'{one}' has other layers than '{next(iter(weights))}'; expected weights of the same architecture"
            )
    mean = {}
    for key, value in states[0].items():
        if value.is_floating_point():
            parts = (state[key].double() * share / total for state, share in zip(states, weights.values(), strict=True))
            value = torch.stack([*parts]).sum(0).to(value.dtype)
        mean[key] = value
    models[0].load_state_dict(mean)
    if name:
        models[0].info = models[0].info.with_(name=name)
    return save_model(output, models[0], torch.float16)


def main() -> None:
    """Parse the command line and write the average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS=SHARE")
    parser.add_argument("--name", default="")
    args = parser.parse_args()
    shares = {one.rpartition("=")[0]: float(one.rpartition("=")[2]) for one in args.weights}
    print(average(shares, args.output, args.name))


if __name__ == "__main__":
    main()
