"""BoTorch's log-space sums without what only their gradients need: the benchmark's Ax runs take half as long.

BoTorch guards `logsumexp` and `logplusexp` so that their *gradients* stay finite at infinities. On a space of integers
Ax searches without gradients, and the guards are most of a proposal's time. `quicker()` has the module of qLogNEHVI use
torch's own functions where no gradient is asked for; they return the same values (up to rounding). Nothing else of Ax
or BoTorch is touched, and nothing of the package: only `search.py` calls it. `python benchmarks/quicker_logei.py RUN`
asks again for the proposals of a kept run, with and without it.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import torch
from botorch.acquisition.multi_objective import logei
from botorch.utils import safe_math
from torch import Tensor


def quicker() -> None:
    """Have qLogNEHVI use the quicker sums, in this process."""
    logei.logsumexp, logei.logplusexp = logsumexp, logplusexp
    logei.logmeanexp = logmeanexp


def usual() -> None:
    """Have it use BoTorch's own again."""
    logei.logsumexp, logei.logplusexp = safe_math.logsumexp, safe_math.logplusexp
    logei.logmeanexp = safe_math.logmeanexp


def logsumexp(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over one dimension."""
    if x.requires_grad:
        return safe_math.logsumexp(x, dim, keepdim)
    if x.shape[dim] == 1:
        return x if keepdim else x.squeeze(dim)
    return torch.logsumexp(x, dim, keepdim)


def logplusexp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b))."""
    if a.requires_grad or b.requires_grad:
        return safe_math.logplusexp(a, b)
    return torch.logaddexp(a, b)


def logmeanexp(x: Tensor, dim: int) -> Tensor:
    """log(mean(exp(x))) over one dimension."""
    return logsumexp(x, dim) - math.log(x.shape[dim])


def main() -> None:
    """Ask again for proposals of a kept run, both ways."""
    import search
    from catransformers.search.problem import Observation

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="landscape/mode/strategy/seed of a kept run")
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 50, 80], help="which of its proposals")
    args = parser.parse_args()
    torch.set_num_threads(1)
    (job,) = search.named([args.run])
    found = search.setting(job.landscape, job.mode)
    trials = json.loads(job.path.read_text())["trials"]
    chooser = search.chooser_of(job, found)
    chooser.ask([], [], 0)  # the initial design is made once
    for number in args.trials:
        done, kept = trials[:number], trials[number]
        said = f"trial {number}: kept {kept['model'], kept['accelerator']}"
        for name, choose in (("usual", usual), ("quicker", quicker)):
            choose()
            before = time.process_time()
            observed = [Observation(one["model"], one["observed"]) for one in done]
            proposal = chooser.ask(observed, [], number, ran_on=[one["accelerator"] for one in done])
            seconds = time.process_time() - before
            said += f", {name} {proposal and (proposal.index, proposal.accelerator)} in {seconds:.1f} CPU s"
        print(said, flush=True)


if __name__ == "__main__":
    main()
