"""`nvml`: the energy of an NVIDIA GPU, through NVIDIA's management library (`pip install nvidia-ml-py`).

Volta and later count millijoules; older boards only say their power, which is then integrated (trapezoids). Both are
of the whole board, memory included. Where several processes compute on it, each is charged an equal part, as they are
counted at every sample; a process at rest counts like a busy one.

The GPU is the one that CUDA calls number 0 here: the first of `CUDA_VISIBLE_DEVICES`.

Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption, nvmlDeviceGetPowerUsage,
nvmlDeviceGetComputeRunningProcesses; CUDA programming guide, CUDA environment variables.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from typing import Any

from catransformers.carbon.ranges import Range
from catransformers.energy.reading import MeterUnavailableError, Reading, reading_of
from catransformers.extras import install
from catransformers.facts import facts
from catransformers.units import MILLI


class NvmlMeter:
    """Energy of the GPU that the work runs on.

    Args:
        environment: whence CUDA's variables are read; the process's own by default.
    """

    name = "nvml"
    part = "cuda"
    interval_s = 1.0

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    def start(self) -> None:
        """Begin.

        Raises:
            MeterUnavailableError: without the library, a driver, a GPU that is known to be the right one, or a sensor.
        """
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as error:
            raise MeterUnavailableError("pynvml is not installed", install("measure")) from error
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise MeterUnavailableError(f"NVIDIA's driver does not answer: {error}") from error
        try:
            self._begin()
        except self._nvml.NVMLError as error:
            self._close()
            raise MeterUnavailableError(f"the GPU's energy cannot be read: {error}") from error
        except MeterUnavailableError:
            self._close()
            raise

    def _begin(self) -> None:
        self._device = _device(self._nvml, self._environment)
        self._label = _text(self._nvml.nvmlDeviceGetName(self._device))
        if _is_sliced(self._nvml, self._device):
            raise MeterUnavailableError(f"{self._label} is cut into slices (MIG), which have no counter of their own")
        try:
            self._millijoules: int | None = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))
        except self._nvml.NVMLError:
            self._millijoules = None
            self.interval_s = 0.25  # power changes with every kernel
        self._watts = self._power()
        self._began = self._until = time.monotonic()
        self._board_j = self._own_j = 0.0
        self._lost = 0

    def _power(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._device)) * MILLI

    def _sharers(self) -> int:
        try:
            return max(1, len(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._device)))
        except self._nvml.NVMLError:
            return 1

    def sample(self) -> None:
        """Add what the board took since the last call."""
        now = time.monotonic()
        try:
            joules = self._counted() if self._millijoules is not None else self._integrated(now)
        except self._nvml.NVMLError:
            joules = None
        if joules is None:
            self._lost += 1
        else:
            self._board_j += joules
            self._own_j += joules / self._sharers()
        self._until = now

    def _counted(self) -> float | None:
        before, now = self._millijoules, int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))
        self._millijoules = now
        return (now - before) * MILLI if before is not None and now >= before else None  # a driver that was reloaded

    def _integrated(self, now: float) -> float:
        before, self._watts = self._watts, self._power()
        return (before + self._watts) / 2 * (now - self._until)

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        how = "energy counter" if self._millijoules is not None else "power sensor"
        detail = f"{how} of {self._label}"
        if self._own_j < self._board_j:
            detail += (
                f": {100 * self._own_j / self._board_j:.0f} % of {self._board_j:.4g} J, shared with other processes"
            )
        if self._lost:
            detail += f"; {self._lost} intervals could not be read and are not counted"
        spread = Range.of(facts("own_footprint")["nvml_relative"])
        return reading_of(self._own_j, spread, "measured", self.name, detail, self._until - self._began)

    def stop(self) -> Reading:
        """Take a last sample, let go of the library, and say what was spent."""
        self.sample()
        self._close()
        return self.reading()

    def _close(self) -> None:
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return


def _device(nvml: Any, environment: Mapping[str, str]) -> Any:
    """NVML's handle of CUDA's device 0.

    Raises:
        MeterUnavailableError: if there is none, or it cannot be told which of several different ones it is.
    """
    wanted = environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if wanted.startswith("MIG-"):
        raise MeterUnavailableError(
            "CUDA_VISIBLE_DEVICES names a slice of a GPU (MIG), which has no counter of its own"
        )
    if wanted.startswith("GPU-"):
        full = [h for h in _handles(nvml) if _text(nvml.nvmlDeviceGetUUID(h)).startswith(wanted)]
        if len(full) != 1:
            raise MeterUnavailableError(f"CUDA_VISIBLE_DEVICES names {wanted}, which NVML does not know")
        return full[0]
    handles = _handles(nvml)
    if not wanted.isdigit() or int(wanted) >= len(handles):
        raise MeterUnavailableError(f"CUDA's device {wanted or 'none'!r} is not among the {len(handles)} GPUs of NVML")
    kinds = {_text(nvml.nvmlDeviceGetName(handle)) for handle in handles}
    if len(kinds) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise MeterUnavailableError(
            f"CUDA numbers this machine's different GPUs ({', '.join(sorted(kinds))}) in an order of its own",
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    return handles[int(wanted)]


def _handles(nvml: Any) -> list[Any]:
    return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]


def _is_sliced(nvml: Any, device: Any) -> bool:
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(device)
    except nvml.NVMLError:  # boards that cannot be cut
        return False
    return bool(current)


def _text(name: str | bytes) -> str:
    """Old versions of the library give bytes."""
    return name.decode() if isinstance(name, bytes) else name
