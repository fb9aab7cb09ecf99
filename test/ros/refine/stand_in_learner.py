"""Keeps the learner's side of the folder without learning: what it offers is a file that the test made.

python stand_in_learner.py WORK --weights W ... file=NEXT.safetensors new=0.09 [crash=1]
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def write(path: Path, values: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(values))
    draft.replace(path)


def main() -> None:
    work = Path(sys.argv[1])
    settings = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
    if "crash" in settings:
        print("No module named 'tensorboard'", file=sys.stderr)
        sys.exit(3)
    parent = int(sys.argv[sys.argv.index("--parent") + 1])
    folder = work / "generations" / "0001"
    while os.getppid() == parent:
        control = read(work / "control.json")
        stored = [read(p) for p in sorted((work / "buffer").glob("*/segment.json"))]
        facts = {"state": "training", "round": 1, "step": len(stored), "steps": 9, "generation": None}
        write(work / "learner.json", {**facts, "message": "stand-in", "pid": os.getpid(), "time": time.time()})
        if stored and control.get("run") and not folder.exists():
            draft = folder.with_name("draft")
            draft.mkdir(parents=True)
            shutil.copy(settings["file"], draft / "model.safetensors")
            checksum = hashlib.sha256((draft / "model.safetensors").read_bytes()).hexdigest()
            write(draft / "evidence.json", {"accepted": True, "parent": control["current"], "sha256": checksum})
            draft.rename(folder)
        watch = control.get("watch")
        if watch:
            fresh = [s for s in stored if s.get("first_ns", 0) > watch["since_ns"]]
            figures = {"old_photometric": 0.1, "new_photometric": float(settings["new"])} if fresh else {}
            write(work / "probation.json", {**watch, "clips": 4 * len(fresh), **figures, "time": time.time()})
        time.sleep(0.1)


if __name__ == "__main__":
    main()
