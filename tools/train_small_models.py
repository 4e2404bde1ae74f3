"""Train the small ViT, BERT and Llama that ship with the package, each with its task's recipe, curve and accuracy.

They are what the offline studies of these families start from: large enough that pruning has something to take and
something to lose, small enough to be shipped. Trained from random weights by `accuracy.final.train`, on the tasks of
`accuracy.tasks.offline`. The test pool is scored once, at the end. The texts are the documentation of the Python that
runs this.

    python tools/train_small_models.py                      # all three; some 10 minutes on one core
    python tools/train_small_models.py vit --steps 50 --out /tmp/try
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from catransformers.accuracy.data.library_text import passages, prose
from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.training.distributed import World
from catransformers.accuracy.training.final import train
from catransformers.accuracy.training.proxy import ProxySettings
from catransformers.config.sections import AccuracySection
from catransformers.models.families.nets import make_net
from catransformers.models.loading.base import Base
from catransformers.models.loading.preprocess import Preprocess
from catransformers.models.loading.storage import save_model
from catransformers.models.loading.tensor_cache import digest
from catransformers.models.loading.tokenizer import TextTokenizer, train_bpe, train_wordpiece
from catransformers.workloads.spec import BertSpec, EncoderSpec, LlamaSpec, ModelSpec, VisionSpec, VitSpec

OUT = Path(__file__).resolve().parents[1] / "src" / "catransformers" / "data"
ALONE = World(0, 1, torch.device("cpu"))


def wordpieces() -> TextTokenizer:
    """Word pieces of the sentences that are trained on."""
    source = passages()
    return train_wordpiece((source.samples[i].texts[0] for i in source.splits["train"]), 1500)


def bytepairs() -> TextTokenizer:
    """Byte pairs of the prose that is trained on."""
    source = prose()
    return train_bpe((source.samples[i].texts[0] for i in source.splits["train"]), 768)


@dataclass(frozen=True)
class Recipe:
    """One small model.

    Args:
        folder: in the package's data.
        spec: the number of tokens → the spec.
        task: name of the task.
        settings: of the training.
        tokens: of a text.
        tokenizer: makes its tokeniser.
        metadata: what the model's description says.
    """

    folder: str
    spec: Callable[[int], ModelSpec]
    task: str
    settings: ProxySettings
    tokens: int | None = None
    tokenizer: Callable[[], TextTokenizer] | None = None
    metadata: dict[str, object] = field(default_factory=dict)


DIGIT_IMAGES = Preprocess(8, mean=(0.3, 0.3, 0.3), std=(0.38, 0.38, 0.38))
RECIPES = {
    "vit": Recipe(
        "small_vit",
        lambda _: VitSpec(VisionSpec(6, 192, 48, 4, 12, 17, 8, 2), classes=10),
        "digits",
        ProxySettings(steps=1500, learning_rate=2e-3, batch_size=100, weight_decay=0.2),
    ),
    "bert": Recipe(
        "small_bert",
        lambda vocabulary: BertSpec(
            EncoderSpec(4, 256, 64, 4, 16, 32), vocabulary, positions=48, classes=8, norm_eps=1e-6
        ),
        "docstrings",
        ProxySettings(steps=600, learning_rate=1e-3, batch_size=64, weight_decay=0.3),
        tokens=32,
        tokenizer=wordpieces,
    ),
    "llama": Recipe(
        "small_llama",
        lambda vocabulary: LlamaSpec(
            layers=6,
            ffn_dim=192,
            embed_dim=64,
            heads=8,
            kv_heads=4,
            head_dim=8,
            vocab_size=vocabulary,
            tied_embeddings=True,
            max_tokens=96,
            prompt_tokens=48,
            new_tokens=16,
        ),
        "docstrings-language",
        ProxySettings(steps=1500, learning_rate=3e-3, batch_size=32, weight_decay=0.3),
        tokens=64,
        tokenizer=bytepairs,
    ),
}


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", choices=[*RECIPES, []], help="which; all by default")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--out", type=Path, default=OUT, help="where the folders go")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for family in arguments.families or RECIPES:
        make(RECIPES[family], arguments.steps, arguments.out)


def make(recipe: Recipe, steps: int | None, out: Path) -> None:
    """Train one model and write its folder."""
    began = time.monotonic()
    folder = out / recipe.folder
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = None if recipe.tokenizer is None else recipe.tokenizer()
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
    torch.manual_seed(0)
    net = make_net(recipe.spec(tokenizer.vocab_size if tokenizer is not None else 0))
    base = Base(
        recipe.folder,
        net,
        digest(net.state_dict()),
        DIGIT_IMAGES if recipe.task == "digits" else None,
        folder / "tokenizer.json" if tokenizer is not None else None,
    )
    section = AccuracySection(task=recipe.task, tokens=recipe.tokens)
    task = open_task(section, base)
    settings = recipe.settings if steps is None else ProxySettings(**{**asdict(recipe.settings), "steps": steps})
    curve: list[dict[str, float]] = []

    def listen(step: int, loss: float) -> None:
        if step % max(1, settings.steps // 10) == 0:
            score = task.evaluate(net, "validation")
            curve.append({"step": step, "loss": round(loss, 4), "validation": round(score.accuracy, 4)})
            print(f"{recipe.folder} {step:5d} loss {loss:.3f} validation {score.accuracy:.4f} {dict(score.metrics)}")

    with tempfile.TemporaryDirectory() as place:
        train(net, task, settings, Path(place), ALONE, checkpoint_minutes=1e9, progress=listen)
    scores = {pool: task.evaluate(net, pool) for pool in ("validation", "test")}
    metadata = {
        **base.metadata(),
        "trained_by": "tools/train_small_models.py",
        "task": recipe.task,
        "recipe": asdict(settings),
        "curve": curve,
        "accuracy": {
            pool: {"accuracy": score.accuracy, "standard_error": score.standard_error, **score.metrics}
            for pool, score in scores.items()
        },
        "made_with": {"python": platform.python_version(), "torch": torch.__version__.partition("+")[0]},
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    save_model(net, folder / "model.safetensors", metadata)
    print(json.dumps(metadata["accuracy"], indent=1), sum(p.numel() for p in net.parameters()))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


if __name__ == "__main__":
    main()
