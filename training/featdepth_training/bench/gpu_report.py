"""Report of tools/gpu_check.sh as a JSON file and a table: `python -m featdepth_training.bench.gpu_report`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.files import sha256_of
from featdepth_ros.reporting.tables import write_json

#: Parts with measurements, in the order of the table.
PARTS = ("parity", "network", "estimator", "step", "loader")
#: Outcome of a part that is only for GPUs.
NOT_RUN = "not run on a CPU"


def gather(folder: Path, device: str) -> dict[str, Any]:
    """Read the results of the parts; a part that did not complete is None.

    Args:
        folder: output folder of the script.
        device: ``cuda`` or ``cpu``.
    """
    figures: dict[str, Any] = {"device": _device(device), "torch": torch.__version__}
    for part in PARTS:
        path = folder / f"{part}.json"
        figures[part] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    files = [folder / "work" / name / "model.safetensors" for name in ("straight", "resumed")]
    sums = [sha256_of(path) if path.is_file() else None for path in files]
    figures["resume_bit_equal"] = None if None in sums else sums[0] == sums[1]
    figures["parts"] = _parts(folder / "work" / "parts.tsv")
    return figures


def _parts(path: Path) -> dict[str, str]:
    """Return the outcome of each part, by name. A part that was running at the end of the script is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return dict(line.split("\t", 1) for line in lines)


def complete(figures: dict[str, Any]) -> bool:
    """Return whether all parts for this device completed, and the resumed run is bit-exact."""
    wanted = [part for part in PARTS if figures["parts"].get(part) != NOT_RUN]
    through = all(figures[part] is not None for part in wanted) and figures["resume_bit_equal"] is True
    return through and all(words.startswith("done") or words == NOT_RUN for words in figures["parts"].values())


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else "cpu"


def table(figures: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    rows = []
    for name, by_precision in (figures["parity"] or {}).items():
        for precision, errors in by_precision.items():
            text = ", ".join(f"{key} {value:.1e}" for key, value in errors.items() if value is not None)
            rows.append((f"{name} in {precision}, errors against fp32 on the CPU", text))
    for part in ("network", "estimator"):
        for name, one in ((figures[part] or {}).get("variants") or {}).items():
            ratio = f", {one['ratio']:.2f} times eager fp32" if "ratio" in one else ""
            rows.append((f"{part}: {name}", f"{one['ms']['p50']:.2f} ms (p99 {one['ms']['p99']:.2f}){ratio}"))
    if figures["network"]:
        rows.append(("network: floor in fp32", f"{figures['network']['floor_ms']:.2f} ms"))
    for side in ("own", "reference"):
        step = (figures["step"] or {}).get(side)
        if step:
            share = 100 * step["share_of_floor"]
            rows.append((f"training step: {side}", f"{step['step_s'] * 1e3:.1f} ms, {share:.0f} % of the limit"))
    if figures["loader"]:
        rows.append(("loader against the step", f"{figures['loader']['ratio']:.1f} times as fast"))
    rows.append(("resumed run bit-exact", str(figures["resume_bit_equal"])))
    rows += [(part, words) for part, words in figures["parts"].items() if not words.startswith("done")]
    rows += [(part, "missing") for part in PARTS if figures[part] is None and part not in figures["parts"]]
    whole = "" if complete(figures) else ": a partial result"
    lines = [f"| on {figures['device']}, torch {figures['torch']}{whole} | |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows]) + "\n"


def main(arguments: list[str]) -> int:
    """Write ``gpu_check.json`` and ``gpu_check.md``; return 1 if a part is missing or the resumed run differs."""
    folder, device = Path(arguments[0]), arguments[1]
    figures = gather(folder, device)
    write_json(folder / "gpu_check.json", figures)
    text = table(figures)
    (folder / "gpu_check.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if complete(figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
