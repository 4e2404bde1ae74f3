"""What image and text classification share: cross-entropy, and accuracy with the measures that each names."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from catransformers.accuracy.metrics.classification import Metric, class_score
from catransformers.accuracy.metrics.evaluation import judge
from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.tasks import PoolName
from catransformers.accuracy.tasks.on_data import DataTask
from catransformers.accuracy.training.losses import class_loss

if TYPE_CHECKING:
    from catransformers.models.families.net import Batch, Net, Outputs


class ClassesTask(DataTask):
    """Classification by `logits` of what carries `labels`; see the module."""

    #: What is told beside accuracy.
    metrics: ClassVar[tuple[Metric, ...]]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return class_loss(outputs, batch)

    def judged(self, net: Net, pool: PoolName) -> Score:
        """Accuracy, with `metrics`."""
        found = judge(
            net,
            self.pool(pool),
            lambda outputs, batch: {"logits": outputs["logits"].float(), "labels": batch["labels"]},
        )
        return class_score(found["logits"], found["labels"], self.metrics)
