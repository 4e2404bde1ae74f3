"""Energy ledger of a study: the loop's own energy and that of all attempts at its work.

The loop (costing the space, choosing models) has a meter too; its record grows with every commit and ends with the
loop, so a killed loop is known up to the last trial that it committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self

from catransformers.config.sections import ExecutionSection
from catransformers.energy.recorder import Recorder, start_or_estimate
from catransformers.execution.events import MeterChosen
from catransformers.execution.metering import attempts, energy_file, record_of
from catransformers.study.directory import StudyDirectory
from catransformers.study.records import EnergyRecord


class EnergyLedger:
    """The energy records of one run of the loop; use it in a `with` statement.

    Args:
        section: of the study, on execution.
    """

    def __init__(self, section: ExecutionSection) -> None:
        self._section = section
        self._session = uuid.uuid4().hex
        meter, self._note = start_or_estimate(section.measure, "cpu")
        self._recorder = None if meter is None else Recorder(meter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._recorder is not None:
            self._recorder.stop()

    def records(self, folder: Path | None = None, *, ended: bool = False) -> tuple[EnergyRecord, ...]:
        """The loop's own record so far, and those of all attempts at the work in a folder."""
        found = () if folder is None else attempts(folder)
        if self._recorder is None:
            return found
        reading = self._recorder.sampled()
        noted = replace(reading, detail=self._note + reading.detail)
        return (*found, record_of(self._session, "search", None, noted, ended=ended))

    def chosen(self) -> MeterChosen:
        """How the work of this study is metered on this machine."""
        meter, note = start_or_estimate(self._section.measure, self._section.device)
        if meter is None:
            return MeterChosen("off", "estimated", "")
        reading = meter.stop()
        return MeterChosen(reading.method, reading.quality, note + "; ".join(meter.missing))


def uncommitted(directory: StudyDirectory, committed: Iterable[EnergyRecord]) -> tuple[EnergyRecord, ...]:
    """Energy records of work that no commit has taken in yet: it is under way, or was cut off with the loop."""
    known = {energy_file(record.attempt) for record in committed}
    paths = [*directory.root.glob(f"*/{energy_file('*')}"), *directory.root.glob(f"*/*/{energy_file('*')}")]
    folders = sorted({path.parent for path in paths if path.name not in known})
    return tuple(
        record for folder in folders for record in attempts(folder) if energy_file(record.attempt) not in known
    )
