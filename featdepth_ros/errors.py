"""The package's exceptions, all derived from `FeatDepthError`.

A message says what was found, what was expected and what to do. The command line prints it without a traceback and
exits with 1. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FeatDepthError(Exception):
    """Base class of the package's errors."""


class CalibrationError(FeatDepthError):
    """A camera calibration is missing, malformed or does not fit its image."""


class CheckpointError(FeatDepthError):
    """A weights file cannot be read, or does not fit any architecture known here."""


class ConfigError(FeatDepthError):
    """A configuration has an unknown key, a value out of range or a contradiction."""


class ImageError(FeatDepthError):
    """An image (or image message) is malformed, in its encoding, size or content."""


class RecordingError(FeatDepthError):
    """A recording (bag, folder, video, dataset) cannot be opened or understood."""


class EvaluationError(FeatDepthError):
    """An evaluation has no defined result for its input."""


class MissingDependencyError(FeatDepthError):
    """A requested function needs an optional package; the message names the extra to install."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return a hint for error messages: ``; did you mean 'lr'?``, or the known names if none is similar."""
    names = sorted(known)
    if not names:
        return ""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(names)}"
