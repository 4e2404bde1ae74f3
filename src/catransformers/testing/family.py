"""The conformance kit of a model family.

    class TestMine(FamilyConformance):
        def spec(self): return MySpec(layers=2, ffn_dim=12, embed_dim=8, heads=2, …)
        def batch(self): return {"images": torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), …}
        def loss(self, outputs, batch): return class_loss(outputs, batch)

A family that passes can be loaded, pruned, scored, costed, trained and exported like those that ship.
"""

from __future__ import annotations

from catransformers.testing.costing import CostChecks
from catransformers.testing.describing import NetChecks, SpecChecks
from catransformers.testing.exporting import ExportChecks
from catransformers.testing.pruning import PruningChecks
from catransformers.testing.scoring import ImportanceChecks


class FamilyConformance(SpecChecks, NetChecks, PruningChecks, ImportanceChecks, CostChecks, ExportChecks):
    """All that a family must do. Inherit it, and say what `spec`, `batch` and `loss` are."""
