"""A fab that costs the same at every node that it makes."""

from catransformers.carbon.embodied import FabNode
from catransformers.carbon.ranges import Range
from catransformers.errors import InputError, Problem


class ToyFab:
    def fab_node(self, node_nm, where):
        if node_nm > 40:
            raise InputError(Problem(where, f"toys are not made at {node_nm:g} nm", allowed="≤ 40 nm"))
        gases = Range(0.5, 1.0, 2.0)
        return FabNode(
            node_nm=node_nm,
            energy_kwh_per_m2=Range(9_000, 10_000, 11_000),
            gases_kg_per_m2={95: gases, 97: gases, 99: gases},
            materials_kg_per_m2=Range(4.0, 5.0, 6.0),
            defects_per_m2=Range(500, 1_000, 2_000),
        )
