"""`codecarbon`: the processor's energy as CodeCarbon knows it (`pip install "catransformers[measure]"`).

Worth having where this package has no meter of its own (macOS, Windows, Raspberry Pi). On Linux it reads the same RAPL
files as `rapl`, and without them it multiplies a nominal power by the load: then its reading is an *estimate* here,
although CodeCarbon prints it like any other. Only its processor energy is taken: no carbon factor, and not its memory
term, which is a constant for each machine.

It runs offline, writes nothing into the user's folder (its output folder is a temporary one), takes no machine-wide
lock, and what a user's own CodeCarbon configuration says (keys, endpoints, forced powers) is overridden.

Source: CodeCarbon 3, OfflineEmissionsTracker; MIT licence.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from catransformers.carbon.ranges import Range
from catransformers.energy.processor_time import STAT, ProcessorShare
from catransformers.energy.reading import MeterUnavailableError, Quality, Reading, reading_of
from catransformers.extras import install
from catransformers.facts import facts
from catransformers.units import J_PER_KWH

#: How CodeCarbon describes hardware that it really measures; all else is a load or a constant times a nominal power.
SENSORS = ("Rapl", "Power Gadget", "Windows Emi", "AppleSiliconChip", "Raspberry")


class CodecarbonMeter:
    """The processor's energy by CodeCarbon: of this process alone where it estimates, shared out where it measures.

    Args:
        stat: whence the machine's processor time is read.
    """

    name = "codecarbon"
    interval_s = 5.0

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self.quality: Quality = "estimated"

    def start(self) -> None:
        """Begin; takes a second or two the first time, while CodeCarbon looks at the machine.

        Raises:
            MeterUnavailableError: if it is not installed, or will not start.
        """
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # before it can print to a worker's log
        try:
            codecarbon: Any = importlib.import_module("codecarbon")
        except ImportError as error:
            raise MeterUnavailableError("codecarbon is not installed", install("measure")) from error
        self._folder = tempfile.TemporaryDirectory(prefix="catransformers-", ignore_cleanup_errors=True)
        try:
            self._tracker: Any = codecarbon.OfflineEmissionsTracker(
                country_iso_code="USA",  # it must be some country; its factor is not used
                force_carbon_intensity_g_co2e_kwh=0.0,
                measure_power_secs=self.interval_s,
                output_dir=self._folder.name,
                output_methods=[],
                output_handlers=[],
                emissions_endpoint=False,
                electricitymaps_api_token="",
                tracking_mode="process",
                allow_multiple_runs=True,
                log_level="critical",
                force_cpu_power=None,
                force_mode_cpu_load=False,
                pue=1.0,
                gpu_ids=[],  # the GPU has a meter of its own
            )
            self._tracker.start()
        except Exception as error:  # whatever keeps a foreign tool from starting
            self._folder.cleanup()
            raise MeterUnavailableError(f"codecarbon does not start: {error}") from error
        self._hardware = self._described()
        self.quality = "measured" if any(word in self._hardware for word in SENSORS) else "estimated"
        self._share, self._began = ProcessorShare(self._stat), time.monotonic()
        self._kwh, self._taken, self._until = 0.0, 1.0, self._began

    def _described(self) -> str:
        parts = [str(part.description()) for part in getattr(self._tracker, "_hardware", ())]
        return ", ".join(part for part in parts if not part.startswith(("RAM", "GPU")))

    def sample(self) -> None:
        """Look at what the tracker, which samples by itself, has added up."""
        energy = getattr(self._tracker, "_total_cpu_energy", None)
        self._settle(float(getattr(energy, "kWh", self._kwh)))

    def _settle(self, kwh: float) -> None:
        self._kwh, self._until = kwh, time.monotonic()
        self._taken = self._share.value() if self.quality == "measured" else 1.0

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        joules, table = self._kwh * J_PER_KWH, facts("own_footprint")
        spread = table["rapl_relative" if self.quality == "measured" else "codecarbon_estimate_relative"]
        detail = f"CodeCarbon, {self._hardware or 'unknown hardware'} (memory not included)"
        if self.quality == "measured":
            detail += f": {100 * self._taken:.0f} % of {joules:.4g} J by share of processor time"
        else:
            detail += ": load times a nominal power, not a measurement"
        seconds = self._until - self._began
        return reading_of(joules * self._taken, Range.of(spread), self.quality, self.name, detail, seconds)

    def stop(self) -> Reading:
        """End the tracker, remove its folder, and say what was spent."""
        try:
            self._tracker.stop()
            self._settle(float(self._tracker.final_emissions_data.cpu_energy))
        except Exception:  # a foreign tool that fails at its end: what it had said before stands
            self.sample()
        self._folder.cleanup()
        return self.reading()
