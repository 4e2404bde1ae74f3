"""Has ZigZag cost matrix products on a given accelerator and writes that down. For the Python of `.venv-zigzag`.

A row is a product (m × k)·(k × n), an array whose two axes are unrolled over two of its dimensions, registers that hold
what stays in the array, a local and a global SRAM, and energies of a multiply-accumulate and of a byte read or
written. Without a `nest`, ZigZag searches its own mapping of least energy; with one, it costs exactly that loop nest.

    .venv-zigzag/bin/python tools/crosscheck/run_zigzag.py tests/data/zigzag_reference.csv --out again.csv

The input needs the columns of `CASE`; others are ignored, so that a reference file is also a list of cases.

A nest names the loops of every operand, innermost first, levels divided by bars: `I:N4 M197 K3|K16 N3;W:…;O:…`.

Reference: Mei et al., "ZigZag: Enlarging Joint Architecture-Mapping Design Space Exploration for DNN Accelerators",
IEEE Transactions on Computers 2021; PyPI `zigzag-dse`.
"""

# ruff: noqa: PLC0415 (the package is imported once its version is known)

import argparse
import csv
import importlib.metadata
import logging
import os
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from zigzag_accelerator import AXES, DRAM, ENERGIES, OPERANDS, WHOLE, accelerator

PACKAGE, VERSION = "zigzag-dse", "3.9.1"

CASE = ("m", "k", "n", "flow", *WHOLE[3:], "dram", *ENERGIES, "nest")
RESULT = ("found_by", "energy_pj", "local_energy_pj", "global_energy_pj", "dram_energy_pj")
RESULT += ("array_cycles", "cycles", "one_port_cycles", "bytes", "chosen", "zigzag")

#: Loops are cut into factors; a size with a prime factor above this one is also tried in another way.
LARGEST_FACTOR = 11

#: ZigZag's search: all orders of this many factors, and annealing over all prime factors from these seeds.
ORDERED_FACTORS, ANNEALING_STEPS, SEEDS = 6, 450, (0,)


def check_version() -> None:
    """Ends the program unless exactly the pinned ZigZag is installed here."""
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{PACKAGE} is not installed in {sys.prefix}; run `make crosscheck-zigzag`")
    if found != VERSION:
        sys.exit(f"{PACKAGE} {found} is installed in {sys.prefix}; this check is for {VERSION} alone")


def fix_hashes() -> None:
    """Start over with a fixed hash seed: the order of ZigZag's sets, and with it its annealing, depends on it."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})


def parse_nest(text: str) -> dict[str, list[list[tuple[str, int]]]]:
    """The loops of every operand, level by level, innermost first.

    Raises:
        ValueError: if the text is no nest, or operands do not have the same loops.
    """
    nest: dict[str, list[list[tuple[str, int]]]] = {}
    for part in text.split(";"):
        operand, _, levels = part.partition(":")
        nest[operand] = [[(loop[0], int(loop[1:])) for loop in level.split()] for level in levels.split("|")]
    if set(nest) != set(OPERANDS):
        raise ValueError(f"operands {', '.join(nest)} are not I, W and O")
    if len({str([loop for level in levels for loop in level]) for levels in nest.values()}) != 1:
        raise ValueError("operands do not have the same loops in the same order")
    if any(dim not in "MKN" or size < 2 for level in nest["O"] for dim, size in level):
        raise ValueError("a loop is not over M, K or N, or has fewer than two steps")
    return nest


def _problem(name: str, value: str) -> bool:
    if name in WHOLE:
        return not (value.isdecimal() and int(value) > 0)
    if name in ENERGIES:
        return not re.fullmatch(r"\d+(\.\d+)?", value)
    if name == "nest":
        try:
            return bool(value) and not parse_nest(value)
        except (ValueError, IndexError):
            return True
    return value not in {"flow": AXES, "dram": DRAM}[name]


def read_cases(path: Path) -> list[dict[str, str]]:
    """The cases of a CSV file; ends the program with every mistake in them."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in CASE if name not in (reader.fieldnames or ())]
            if missing:
                sys.exit(f"{path}: no column {', '.join(missing)}")
            rows = [{name: row[name] or "" for name in CASE} for row in reader]
    except OSError as error:
        sys.exit(f"{path}: cannot be read: {error.strerror}")
    wrong = [
        f"{path}: line {line}: {name} = {value!r}"
        for line, row in enumerate(rows, start=2)
        for name, value in row.items()
        if _problem(name, value)
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    return rows


def _workload(case: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "id": 0,
            "operator_type": "Gemm",
            "equation": "O[m][n]+=I[m][k]*W[k][n]",
            "dimension_relations": [],
            "loop_dims": ["M", "K", "N"],
            "loop_sizes": [int(case[name]) for name in ("m", "k", "n")],
            "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8},
            "operand_source": {"W": 0, "I": 0},
        }
    ]


def _run(case: dict[str, str], searching: tuple[type, ...], one_port: bool = False, **options: Any) -> Any:
    """ZigZag's evaluation of a case; None if `searching`, the stages that choose the temporal mapping, find none."""
    import yaml
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.main import MainStage
    from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
    from zigzag.stages.parser.accelerator_parser import AcceleratorParserStage
    from zigzag.stages.parser.workload_parser import WorkloadParserStage
    from zigzag.stages.workload_iterator import WorkloadStage

    rows, columns = AXES[case["flow"]]
    unrolling = {"D1": [f"{rows}, {case['rows']}"], "D2": [f"{columns}, {case['columns']}"]}
    mapping = [{"name": "default", "spatial_mapping": unrolling, "memory_operand_links": OPERANDS}]
    with tempfile.TemporaryDirectory() as name:
        machine_file, mapping_file = Path(name) / "machine.yaml", Path(name) / "mapping.yaml"
        machine_file.write_text(yaml.safe_dump(accelerator(case, one_port), sort_keys=False))
        mapping_file.write_text(yaml.safe_dump(mapping, sort_keys=False))
        stages = [WorkloadParserStage, AcceleratorParserStage, WorkloadStage, SpatialMappingGeneratorStage]
        main = MainStage(
            [*stages, *searching, CostModelStage],
            accelerator=str(machine_file),
            mapping=str(mapping_file),
            workload=_workload(case),
            nb_mappings_generated=1,
            enable_mix_spatial_mapping_generation=False,
            access_same_data_considered_as_no_access=True,
            temporal_mapping_type=TemporalMappingType.UNEVEN,
            loma_show_progress_bar=False,
            **options,
        )
        answers = main.run()
        return answers[0][0] if answers else None


def cost(case: dict[str, str], nest: dict[str, list[list[tuple[str, int]]]], one_port: bool = False) -> Any:
    """ZigZag's evaluation of a case under a given loop nest."""
    from zigzag.datatypes import LayerDim, LayerOperand
    from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType
    from zigzag.stages.stage import Stage

    class GivenNest(Stage):
        """Passes the given loop nest on where ZigZag would search one."""

        def run(self) -> Any:
            loops = {
                LayerOperand(operand): [[(LayerDim(dim), size) for dim, size in level] for level in levels]
                for operand, levels in nest.items()
            }
            mapping = TemporalMapping(loops, self.kwargs["layer"], TemporalMappingType.UNEVEN)
            following = self.list_of_callables[0](self.list_of_callables[1:], temporal_mapping=mapping, **self.kwargs)
            yield from following.run()

    return _run(case, (GivenNest,), one_port)


def _annealing(seed: int) -> type:
    """A stage as ZigZag's `SalsaStage`, but in this process: that one waits for ever if its process fails.

    It fails where it meets an order of loops that does not fit in the memories; then nothing is passed on.
    """
    import numpy as np
    from zigzag.opt.loma.memory_allocator import MemoryHierarchyTooSmallException, MemoryTooSmallException
    from zigzag.opt.salsa.engine import SalsaEngine
    from zigzag.stages.stage import Stage

    class Results(list[Any]):
        """What the engine takes for a queue."""

        put = list.append

    class Annealing(Stage):
        """Passes the best of one run of annealing on."""

        def run(self) -> Any:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 (ZigZag draws from numpy's global generator)
            engine = SalsaEngine(
                **{name: self.kwargs[name] for name in ("accelerator", "layer", "spatial_mapping")},
                mapping_type=self.kwargs["temporal_mapping_type"],
                salsa_iteration_number=ANNEALING_STEPS,
                salsa_opt_criterion="energy",
            )
            results = Results()
            try:
                engine.run(results)
            except (MemoryTooSmallException, MemoryHierarchyTooSmallException):
                return
            mapping = results[0].temporal_mapping
            following = self.list_of_callables[0](self.list_of_callables[1:], temporal_mapping=mapping, **self.kwargs)
            yield from following.run()

    return Annealing


def _smooth(number: int) -> bool:
    """Whether a number has no prime factor above `LARGEST_FACTOR`."""
    for factor in range(2, LARGEST_FACTOR + 1):
        while number % factor == 0:
            number //= factor
    return number == 1


def without_large_primes(case: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The case with every dimension in factors that loops can be cut into, and what was done for that.

    ZigZag cuts loops into whole factors only. A streaming dimension is padded (and its work counted); of an axis of the
    array, fewer elements are used.
    """
    rows, columns = AXES[case["flow"]]
    changed, notes = dict(case), []
    for name in ("m", "k", "n"):
        size = int(case[name])
        axis = {rows: "rows", columns: "columns"}.get(name.upper())
        if axis is None:
            padded = next(number for number in range(size, 2 * size) if _smooth(number))
            if padded != size:
                changed[name] = str(padded)
                notes.append(f"{name} = {padded}")
        else:
            extent = int(case[axis])
            used = next(number for number in range(extent, 0, -1) if _smooth(-(-size // number)))
            if used != extent:
                changed[axis] = str(used)
                notes.append(f"{used} {axis}")
    return " and ".join(notes), changed


def search(case: dict[str, str]) -> tuple[str, dict[str, str], Any]:
    """How the mapping of least energy was found, for which variant, and its evaluation: the best of two engines."""
    from zigzag.stages.mapping.temporal_mapping_generator_stage import TemporalMappingGeneratorStage
    from zigzag.stages.results.reduce_stages import MinimalEnergyStage

    exhaustive = (MinimalEnergyStage, TemporalMappingGeneratorStage)
    note, smooth = without_large_primes(case)
    variants = [("", case)] + ([(f" with {note}", smooth)] if note else [])
    found = []
    for words, variant in variants:
        found.append(("loma" + words, variant, _run(variant, exhaustive, loma_lpf_limit=ORDERED_FACTORS)))
        found += [(f"salsa seed {seed}{words}", variant, _run(variant, (_annealing(seed),))) for seed in SEEDS]
    return min((f for f in found if f[2] is not None), key=lambda candidate: candidate[2].energy_total)


def _nest_of(evaluation: Any) -> dict[str, list[list[tuple[str, int]]]]:
    """The loop nest of an evaluation as ZigZag first had it."""
    return {
        operand.name: [[(dim.name, int(size)) for dim, size in level] for level in levels]
        for operand, levels in evaluation.temporal_mapping.mapping_dic_origin.items()
    }


def show_nest(nest: dict[str, list[list[tuple[str, int]]]]) -> str:
    """A nest as `parse_nest` reads it; loops of one step are left out."""
    return ";".join(
        f"{operand}:" + "|".join(" ".join(f"{dim}{size}" for dim, size in level if size > 1) for level in nest[operand])
        for operand in OPERANDS
    )


def results(case: dict[str, str]) -> dict[str, str]:
    """What ZigZag says of a case, by the names of `RESULT`.

    `bytes` holds every movement as level:operand:direction, in ZigZag's words (tl to and fl from the lower level, th
    to and fh from the higher one); words of the widest port are turned to bytes.
    """
    if case["nest"]:
        found_by, variant, evaluation = "given", case, cost(case, parse_nest(case["nest"]))
    else:
        found_by, variant, evaluation = search(case)
    one_port = cost(variant, _nest_of(evaluation), one_port=True)
    energy = dict.fromkeys(("local", "global", "dram"), 0.0)
    moved = []
    directions = {"RD_OUT_TO_LOW": "tl", "WR_IN_BY_LOW": "fl", "RD_OUT_TO_HIGH": "th", "WR_IN_BY_HIGH": "fh"}
    for operand, accesses in evaluation.memory_word_access.items():
        memory_operand = evaluation.memory_operand_links.layer_to_mem_op(operand)
        levels = evaluation.accelerator.memory_hierarchy.get_memory_levels(memory_operand)
        for level, words, pj in zip(levels, accesses, evaluation.mem_energy_breakdown[operand], strict=True):
            if level.name not in energy:
                continue
            energy[level.name] += pj
            width = int(case[f"{level.name}_bandwidth"])
            for direction, count in sorted(words.data.items(), key=lambda item: str(item[0])):
                if count:
                    short = next(s for name, s in directions.items() if str(direction).upper().endswith(name))
                    moved.append(f"{level.name}:{operand.name}:{short}={count * width}")
    return {
        "found_by": found_by,
        "energy_pj": f"{evaluation.energy_total:.1f}",
        **{f"{level}_energy_pj": f"{pj:.1f}" for level, pj in energy.items()},
        "array_cycles": str(round(evaluation.ideal_temporal_cycle)),
        "cycles": str(round(evaluation.latency_total2)),
        "one_port_cycles": str(round(one_port.latency_total2)),
        "bytes": " ".join(moved),
        "chosen": show_nest(_nest_of(evaluation)),
        "zigzag": VERSION,
    }


def main() -> None:
    """Cost every case of a file and write the results in the file's order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cases", type=Path, help="CSV with the columns " + ", ".join(CASE))
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    check_version()
    cases = read_cases(arguments.cases)
    fix_hashes()
    logging.disable(logging.CRITICAL)
    with arguments.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*CASE, *RESULT], lineterminator="\n")
        writer.writeheader()
        for case in cases:
            writer.writerow(case | results(case))
            stream.flush()


if __name__ == "__main__":
    main()
