"""A design as data: the estimate, its explanation, its roofline."""

from __future__ import annotations

from typing import Any

from catransformers.designs.estimate import Estimate
from catransformers.designs.explain import Explanation
from catransformers.reports.estimate.explanation import conclusions, findings
from catransformers.reports.estimate.roofline import roofline
from catransformers.reports.wording import breakable


def estimate_object(result: Estimate, explanation: Explanation | None, *, rooflines: bool) -> dict[str, Any]:
    """What `--json` prints: the estimate, and what else was asked for."""
    data = result.to_dict()
    if explanation is not None:
        data["explain"] = {
            **explanation.to_dict(),
            "findings": [breakable(text) for text in findings(explanation)],
            "conclusions": {name: breakable(text) for name, text in conclusions(explanation).items()},
        }
    if rooflines:
        found = roofline(result)
        data["roofline"] = found.to_dict()
        points = {point.row: point for point in found.points}
        for number, row in enumerate(data["breakdown"]):
            point = points.get(number)
            row["gops"] = None if point is None else point.gops
            row["intensity_ops_per_byte"] = None if point is None else dict(point.intensity)
    return data
