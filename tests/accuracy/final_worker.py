"""One process of a shared training: started several times by the test, as `torchrun` would."""

import sys
from pathlib import Path

import torch
from toy_tasks import CLIP_SPEC, VIT_SPEC, ToyClasses, ToyPairs, made

from catransformers.accuracy.training.distributed import world
from catransformers.accuracy.training.final import train
from catransformers.accuracy.training.proxy import ProxySettings
from catransformers.models.loading.storage import save_model

if __name__ == "__main__":
    kind, micro, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    spec, task = (CLIP_SPEC, ToyPairs()) if kind == "clip" else (VIT_SPEC, ToyClasses())
    net, base = made(spec, 1), made(spec, 2)
    settings = ProxySettings(steps=4, learning_rate=1e-2, batch_size=8, micro_batch=micro or None, distillation=0.5)
    with world("cpu") as here:
        train(net, task, settings, out, here, base=base)
        if here.chief:
            save_model(net, out / "model.safetensors")
