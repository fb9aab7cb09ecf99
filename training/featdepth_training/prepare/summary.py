"""The summary of a finished cache, as figures and as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.recording import Recording
from featdepth_training.data.shards import read_indices
from featdepth_training.data.store import Store
from featdepth_training.prepare.config import PrepareConfig


def summarise(
    recording: Recording,
    store: Store,
    config: PrepareConfig,
    counts: Counter[str],
    unreadable: list[dict[str, str]],
) -> dict[str, Any]:
    """Return the figures of a cache, without times.

    Args:
        recording: the recording.
        store: store of the cache.
        config: settings of the cache.
        counts: number of frames by verdict.
        unreadable: name and reason of each unreadable frame.

    Raises:
        RecordingError: no frame was useful.
    """
    indices = read_indices(store)
    frames = [frame for index in indices for frame in index.frames]
    lengths = Counter(frame["stretch"] for frame in frames).values()
    longest = max(3, config.frames)
    clips = {n: sum(max(length - n + 1, 0) for length in lengths) for n in range(1, longest + 1)}
    summary: dict[str, Any] = {
        "recording": recording.name,
        "frames": config.count_in(recording),
        "kept": len(frames),
        "stretches": len(lengths),
        "clips": clips[config.frames],
        "clips_by_frames": {str(n): count for n, count in clips.items()},
        "size": [config.height, config.width],
        "with_partner": sum("partner" in frame["offset"] for frame in frames),
        "with_depth": sum("depth" in frame["offset"] for frame in frames),
        "with_pose": sum(frame["pose"] is not None for frame in frames),
        "shards": len(indices),
        "bytes": sum(index.bytes for index in indices),
        "selected": {name: counts[name] for name in sorted(counts)},
        "unreadable": unreadable,
        "notes": list(recording.notes),
    }
    if config.listed is not None:
        summary["listed"] = len(config.listed)
        summary["listed_kept"] = sum(bool(frame.get("centre")) for frame in frames)
    if not frames:
        raise RecordingError(
            f"'{recording.name}' gave no clip of {config.shortest} frames: {summary['selected']}, "
            f"{len(unreadable)} unreadable. Is the camera standing still "
            "(prepare --keep-static keeps such frames), or is the frame rate too low?"
        )
    return summary


def summary_table(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the (label, text) rows of the summary for a terminal."""
    words = {
        "static": "nothing moves",
        "blurred": "blurred",
        "other_size": "of another size",
        "without_partner": "without a stereo partner",
        "too_short": "in sequences that are too short",
        "not_listed": "not in the split",
    }
    cuts = {"gap": "gap in time", "cut": "cut", "too_far": "moved too far"}
    chosen, unreadable = summary["selected"], summary["unreadable"]
    height, width = summary["size"]
    clips = ", ".join(f"{count} of {n}" for n, count in summary["clips_by_frames"].items())
    rows = [
        ("frames read", str(summary["frames"])),
        *((f"left out, {text}", str(chosen[name])) for name, text in words.items() if chosen.get(name)),
        *([("left out, unreadable", f"{len(unreadable)} ({_names(unreadable)})")] if unreadable else []),
        ("kept", f"{summary['kept']} of {height}x{width}, {summary['with_partner']} with partner, "
                 f"{summary['with_depth']} with depth, {summary['with_pose']} with pose"),
        *([("of the split", f"{summary['listed_kept']} of {summary['listed']} lines")] if "listed" in summary else []),
        ("stretches", f"{summary['stretches']}" + "".join(
            f", {text} {chosen[name]}" for name, text in cuts.items() if chosen.get(name))),
        ("clips, by frames", clips),
        ("written", f"{summary['shards']} shard(s), {summary['bytes'] / 1e6:.1f} MB"
                    + (f", {summary['fps']} frames/s" if summary["fps"] else "")),
        *(("note", text) for text in summary["notes"]),
    ]  # fmt: skip
    return rows


def _names(unreadable: list[dict[str, str]]) -> str:
    shown = [entry["name"] for entry in unreadable[:5]]
    return ", ".join(shown) + (", ..." if len(unreadable) > len(shown) else "")
