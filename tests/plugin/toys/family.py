"""A vision transformer whose FFN ends in a squared ReLU: its spec and its row."""

from dataclasses import dataclass, replace

from catransformers.workloads import vit


@dataclass(frozen=True, slots=True)
class ToySpec(vit.VitSpec):
    family = "toy-vit"


FAMILY = replace(vit.FAMILY, from_dict=ToySpec.from_dict, net="toys.net:ToyNet", formats="", model_types=(), exports=())
