"""Benchmark results in a file that is whole at any time: an interrupted evaluation resumes where it was.

A value is kept under the net (its weights, its spec, how it reads images and texts) and under the data set's key (its
shards, classes and templates); if any of it is another, the value is measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path
from typing import Any, Final

from catransformers.accuracy.benchmark.evaluating import DatasetScore
from catransformers.accuracy.benchmark.finding import Dataset
from catransformers.accuracy.metrics.zero_shot_classifier import Tokenize
from catransformers.errors import IntegrityError
from catransformers.file_cache import content_key
from catransformers.files import write_whole
from catransformers.models.families.net import Net
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.tensor_cache import digest

FILE: Final = "results.json"
_FORMAT: Final = "catransformers benchmark 1"
#: Two tokenisers that read these alike are taken for the same.
_PROBES: Final = ("a photo of a cat.", "Zwölf BOXES, 37 % of them (blue); isn't it?")


def net_key(net: Net, preprocess: Preprocess, tokenize: Tokenize) -> str:
    """SHA-256 of all of a net that its values depend on."""
    tokens = tokenize(_PROBES)
    return content_key(
        {
            "weights": digest(net.state_dict()),
            "spec": net.spec.to_dict(),
            "preprocess": preprocess.to_dict(),
            "tokens": hashlib.sha256(repr(tokens.tolist()).encode()).hexdigest(),
        }
    )


class Results:
    """The results file of a folder, for one net.

    Args:
        folder: where it is, or will be.
        net: of `net_key`.

    Raises:
        IntegrityError: if there is a file that is not such a file, or is damaged.
    """

    def __init__(self, folder: Path, net: str) -> None:
        self.path, self.net = folder / FILE, net
        self._nets: dict[str, dict[str, Any]] = {}
        try:
            content = json.loads(self.path.read_bytes())
            if content["format"] != _FORMAT:
                raise ValueError("another format")
            self._nets = {key: dict(scores) for key, scores in content["nets"].items()}
            for scores in self._nets.values():
                for entry in scores.values():
                    _score(entry)
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = f"{self.path}: not results of an evaluation, or damaged; move it away, and all is measured again"
            raise IntegrityError(what) from error

    def get(self, dataset: Dataset) -> DatasetScore | None:
        """What was measured before on just this data set; None if nothing was."""
        entry = self._nets.get(self.net, {}).get(dataset.name)
        return _score(entry) if entry and entry["key"] == dataset.key else None

    def put(self, dataset: Dataset, score: DatasetScore) -> None:
        """Keep what was measured.

        Raises:
            OSError: if the folder cannot be written.
        """
        entry = {"key": dataset.key, **plain(score)}
        self._nets.setdefault(self.net, {})[dataset.name] = entry
        content = {"format": _FORMAT, "nets": self._nets}
        write_whole(self.path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def plain(score: DatasetScore) -> dict[str, object]:
    """A score as data for JSON: no standard error where it is infinite."""
    error = score.standard_error if isfinite(score.standard_error) else None
    return {**asdict(score), "metrics": dict(score.metrics), "notes": list(score.notes), "standard_error": error}


def _score(entry: Mapping[str, Any]) -> DatasetScore:
    """The inverse of `plain`.

    Raises:
        KeyError, TypeError, ValueError: if it is not.
    """
    str(entry["key"])
    error = entry["standard_error"]
    return DatasetScore(
        name=str(entry["name"]),
        group=str(entry["group"]),
        metric=str(entry["metric"]),
        value=float(entry["value"]),
        standard_error=inf if error is None else float(error),
        n=int(entry["n"]),
        skipped=int(entry["skipped"]),
        metrics={str(name): float(value) for name, value in entry["metrics"].items()},
        notes=tuple(str(note) for note in entry["notes"]),
    )
