"""Training checkpoints on disk, to resume exactly: weights, optimiser, step.

A checkpoint is a folder `step-00001200` with `state.safetensors` (weights and AdamW's moments) and `state.json` (what
it belongs to, the step, the losses so far, a SHA-256 of the tensors), which is written last: a folder without it is no
checkpoint. The two newest are kept; a damaged one is passed over for the one before, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from catransformers.errors import CatransformersWarning, InputError, IntegrityError, Problem
from catransformers.files import write_whole
from catransformers.models.families.net import Net

KEPT = 2
_TENSORS, _FACTS = "state.safetensors", "state.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Args:
        step: optimiser steps that are done.
        losses: the task's loss of each of them, in nats.
        seconds: of training so far, over all attempts.
        scaler: state of the gradient scaler; empty without one.
    """

    step: int = 0
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    scaler: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path, identity: str, net: Net, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write a checkpoint and remove those before the last two.

    Args:
        folder: of all checkpoints of the run; made if need be.
        identity: of the run: a checkpoint of another one is never taken up.
        net: its weights.
        optimiser: AdamW over the net's parameters.
        progress: how far the run is.

    Raises:
        OSError: if the folder cannot be written.
    """
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{names[id(parameter)]}"] = torch.as_tensor(value)
    content = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    place = folder / f"step-{progress.step:08d}"
    facts = {
        "identity": identity,
        "step": progress.step,
        "losses": list(progress.losses),
        "seconds": progress.seconds,
        "scaler": dict(progress.scaler),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_whole(place / _TENSORS, content)
    write_whole(place / _FACTS, json.dumps(facts, allow_nan=False) + "\n")
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, identity: str, net: Net, optimiser: torch.optim.Optimizer) -> Progress | None:
    """Take up the newest checkpoint of a run: weights, optimiser and progress are then what they were.

    Returns:
        How far the run was; None if there is no checkpoint.

    Warns:
        CatransformersWarning: for each damaged checkpoint that is passed over.

    Raises:
        InputError: if the folder's checkpoints are of another run.
    """
    for place in sorted(folder.glob("step-*"), reverse=True):
        if not (place / _FACTS).is_file():
            continue  # cut off while it was written
        try:
            facts, tensors = _read(place)
        except IntegrityError as error:
            warnings.warn(f"{error}; passed over", CatransformersWarning, stacklevel=2)
            continue
        if facts["identity"] != identity:
            hint = "use another folder (--out), or the settings and data that the training began with"
            raise InputError(Problem(str(place), "is of a training with other settings or data", hint=hint))
        _restore(tensors, net, optimiser)
        return Progress(facts["step"], tuple(facts["losses"]), facts["seconds"], facts["scaler"])
    return None


def _read(place: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        facts = json.loads((place / _FACTS).read_text(encoding="utf-8"))
        content = (place / _TENSORS).read_bytes()
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise IntegrityError(f"{place}: damaged, the SHA-256 of the tensors is another")
        return facts, load_tensors(content)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise IntegrityError(f"{place}: damaged: {error}") from error


def _restore(tensors: Mapping[str, Tensor], net: Net, optimiser: torch.optim.Optimizer) -> None:
    net.load_state_dict({name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")})
    parameters = dict(net.named_parameters())
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            key, _, parameter = name.removeprefix("optimiser.").partition(".")
            owner = parameters[parameter]
            optimiser.state[owner][key] = tensor.clone() if key == "step" else tensor.to(owner.device)
