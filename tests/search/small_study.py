"""A space of a few dozen models of the embedded study and a handful of accelerators, small enough for brute force."""

from catransformers.hardware.spaces import space as accelerators
from catransformers.hardware.technology import technology
from catransformers.search.space import model_space
from catransformers.study.records import ProposalRecord, TrialRecord
from catransformers.workloads.zoo import named_spec

TECHNOLOGY = technology("default-22nm")
TABLE = accelerators(
    "micro",
    frequency_hz=TECHNOLOGY.frequency_hz,
    overrides={"cores": [1, 2], "pe_x": [8, 16], "pe_y": [4], "local_kib": [2, 16], "local_bandwidth": [32],
               "global_mib": [0.25, 0.5, 1]},
)  # fmt: skip
BASE = named_spec("embedded")
SPACE = model_space(
    BASE,
    {
        "vision.layers": {"values": [BASE.vision.layers // 2, BASE.vision.layers]},
        "vision.ffn_dim": {"step": 96},
        "text.layers": {"values": [BASE.text.layers // 2, BASE.text.layers]},
        "text.ffn_dim": {"values": [BASE.text.ffn_dim]},
        "text.embed_dim": {"values": [40, BASE.text.embed_dim]},
    },
)


def trial(number, index, accuracy, space=SPACE):
    """The record of a trial of model `index`, which failed if it has no accuracy."""
    dimensions = space.dimensions(index)
    return TrialRecord(
        number=number,
        dimensions=dimensions,
        status="failed" if accuracy is None else "complete",
        accuracy=accuracy,
        accuracy_se=None if accuracy is None else 0.01,
        metrics={},
        parameters=1,
        macs=1,
        seconds=1.0,
        error="",
        proposal=ProposalRecord(number, dimensions, "test"),
    )
