"""Runs SCALE-Sim on matrix products and writes down what it reports. For the Python of `.venv-scalesim`.

SCALE-Sim simulates a systolic array cycle by cycle: it builds the matrix of which element demands which address when.
In its mode `CALC` the memories keep up with every demand, so that what it reports are stall-free cycles.

    .venv-scalesim/bin/python tools/crosscheck/run_scalesim.py tests/data/scalesim_reference.csv --out again.csv

The input needs the columns of `CASE`; others are ignored, so that a reference file is also a list of cases.

Reference: Samajdar et al., "A Systematic Methodology for Characterizing Scalability of DNN Accelerators using
SCALE-Sim", ISPASS 2020; PyPI `scalesim`.
"""

# ruff: noqa: PLC0415 (the package is imported once its version is known)

import argparse
import contextlib
import csv
import importlib.metadata
import io
import sys
import tempfile
from pathlib import Path

PACKAGE, VERSION = "scalesim", "3.0.0"
CASE = ("m", "k", "n", "rows", "columns", "dataflow")
RESULT = ("cycles", "stall_cycles", "input_reads", "weight_reads", "output_writes", "scalesim")
DATAFLOWS = ("os", "ws", "is")

#: KiB of each of SCALE-Sim's three memories, far above any operand here.
_MEMORY_KIB = 8192

_CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = {memory}
FilterSramSzkB = {memory}
OfmapSramSzkB = {memory}
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = {dataflow}
Bandwidth = 10
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def check_version() -> None:
    """Ends the program unless exactly the pinned SCALE-Sim is installed here."""
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"{PACKAGE} is not installed in {sys.prefix}; run `make crosscheck-scalesim`")
    if found != VERSION:
        sys.exit(f"{PACKAGE} {found} is installed in {sys.prefix}; this check is for {VERSION} alone")


def read_cases(path: Path) -> list[dict[str, str]]:
    """The cases of a CSV file; ends the program with every mistake in them."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in CASE if name not in (reader.fieldnames or ())]
            if missing:
                sys.exit(f"{path}: no column {', '.join(missing)}")
            rows = [{name: row[name] for name in CASE} for row in reader]
    except OSError as error:
        sys.exit(f"{path}: cannot be read: {error.strerror}")
    wrong = [
        f"{path}: line {line}: {name} = {value!r}"
        for line, row in enumerate(rows, start=2)
        for name, value in row.items()
        if (value not in DATAFLOWS if name == "dataflow" else not ((value or "").isdecimal() and int(value) > 0))
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    return rows


def simulate(rows: str, columns: str, dataflow: str, products: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """What SCALE-Sim reports of (m, k, n) products on one array, by the names of `RESULT`."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, layout, topology = folder / "array.cfg", folder / "layout.csv", folder / "products.csv"
        config.write_text(_CONFIG.format(rows=rows, columns=columns, dataflow=dataflow, memory=_MEMORY_KIB))
        layout.write_text("no custom layout,\n")
        lines = [f"p{i},{m},{n},{k}," for i, (m, k, n) in enumerate(products)]  # SCALE-Sim's order is m, n, k
        topology.write_text("\n".join(["Layer,M,N,K,", *lines]) + "\n")
        with contextlib.redirect_stdout(io.StringIO()):
            run = scalesim(
                save_disk_space=True,  # no traces
                verbose=False,
                config=str(config),
                topology=str(topology),
                layout=str(layout),
                input_type_gemm=True,
            )
            run.run_scale(top_path=str(folder))
        reports = {}
        for report in ("COMPUTE_REPORT", "DETAILED_ACCESS_REPORT"):
            with (folder / "run" / f"{report}.csv").open(newline="") as stream:
                reports[report] = list(csv.DictReader(stream, skipinitialspace=True))
    return [
        (
            str(int(compute["Total Cycles"])),
            str(int(compute["Stall Cycles"])),
            *(str(int(access[f"SRAM {what}"])) for what in ("IFMAP Reads", "Filter Reads", "OFMAP Writes")),
            VERSION,
        )
        for compute, access in zip(reports["COMPUTE_REPORT"], reports["DETAILED_ACCESS_REPORT"], strict=True)
    ]


def main() -> None:
    """Simulate every case of a file, array by array, and write the results in the file's order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cases", type=Path, help="CSV with the columns " + ", ".join(CASE))
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args()
    check_version()
    cases = read_cases(arguments.cases)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for at, case in enumerate(cases):
        groups.setdefault((case["rows"], case["columns"], case["dataflow"]), []).append(at)
    results: dict[int, tuple[str, ...]] = {}
    for array, members in groups.items():
        products = [(cases[at]["m"], cases[at]["k"], cases[at]["n"]) for at in members]
        results.update(zip(members, simulate(*array, products), strict=True))
    with arguments.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*CASE, *RESULT])
        writer.writerows([*case.values(), *results[at]] for at, case in enumerate(cases))


if __name__ == "__main__":
    main()
