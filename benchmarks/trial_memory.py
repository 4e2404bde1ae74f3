"""What a trial of a large base holds in host memory before it trains, and what it reads from disk. Prints one table.

A ViT-B-16 with random weights is written as an open_clip checkpoint. Processes of their own then do what a trial does:
open the base through `load_base`, read the importance scores, prune. Memory is what each process has beyond its
imports: private (RssAnon) and mapped from files, which all trials share (RssFile); `read` is what the kernel read from
the disk for it. The training adds gradients and AdamW's two moments: three times the pruned model, on the GPU or here.

    .venv/bin/python benchmarks/trial_memory.py --model ViT-B-16      # half a minute; Linux
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRIAL = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import catransformers.models.families.clip
from catransformers.models.pruning.importance_store import from_tensors
from catransformers.models.loading.base import load_base
from catransformers.models.pruning.prune import prune
from catransformers.models.loading.tensor_cache import load_keyed

def status():
    found = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    io = dict(line.split(":") for line in open("/proc/self/io").read().splitlines())
    values = {name: int(found[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS", "RssAnon", "RssFile")}
    return values | {"read": int(io["read_bytes"])}

model, folder, share = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
before, began = status(), time.monotonic()
base = load_base(model, str(folder / "weights.safetensors"))
loaded = time.monotonic()
scores = from_tensors(load_keyed(folder / "importance.safetensors", "key"))
own = base.net.spec.dimensions()
spec = base.net.spec.with_dimensions({name: max(1, round(share * size)) for name, size in own.items()})
net = prune(base.net, spec, scores)
ended, after = time.monotonic(), status()
print(json.dumps({
    "parameters": sum(p.numel() for p in net.parameters()), "peak": after["VmHWM"] - before["VmRSS"],
    "private": after["RssAnon"] - before["RssAnon"], "mapped": after["RssFile"] - before["RssFile"],
    "read": after["read"] - before["read"], "load_s": loaded - began, "prune_s": ended - loaded,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-16", help="a CLIP of open_clip's (default ViT-B-16)")
    args = parser.parse_args()
    import torch
    from safetensors.torch import save_file

    from catransformers.models.families.nets import make_net
    from catransformers.models.loading.tensor_cache import save_keyed
    from catransformers.models.pruning.importance import Importance, StackImportance
    from catransformers.models.pruning.importance_store import to_tensors
    from catransformers.models.pruning.magnitude import random_scores
    from catransformers.workloads.zoo import named_spec

    torch.manual_seed(0)
    net = make_net(named_spec(args.model))
    size = 4 * sum(p.numel() for p in net.parameters())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_file({name: t.contiguous() for name, t in net.state_dict().items()}, folder / "weights.safetensors")
        stacks = {name: StackImportance(**parts) for name, parts in random_scores(net, 0).items()}
        save_keyed(to_tensors(Importance(stacks, 1.0)), folder / "importance.safetensors", "key")
        del net
        print(f"{args.model}: {size / 4:,.0f} parameters, {size / 1e6:.0f} MB in fp32; memory in multiples of that\n")
        print("| kept of each dimension | peak | private | mapped | read from disk, MB | load, s | prune, s |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for share in (1.0, 0.75, 0.5):
            time.sleep(1)
            command = [sys.executable, "-c", TRIAL, args.model, str(folder), str(share)]
            done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            memory = " | ".join(f"{done[name] / size:.2f}" for name in ("peak", "private", "mapped"))
            print(
                f"| {share:.0%} | {memory} | {done['read'] / 1e6:.1f} | {done['load_s']:.1f} | {done['prune_s']:.1f} |"
            )


if __name__ == "__main__":
    main()
