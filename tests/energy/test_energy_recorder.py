"""A meter that is sampled in the background."""

import time
from pathlib import Path

from catransformers.energy import recorder
from catransformers.energy.reading import Reading
from catransformers.energy.recorder import Recorder

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


class Counted:
    """A meter that counts its samples, 1 J each."""

    interval_s = 0.01
    name, missing = "counted", ()

    def __init__(self):
        self.samples = 0

    def sample(self):
        self.samples += 1

    def reading(self):
        joules = float(self.samples)
        return Reading(joules, joules, joules, joules, "measured", "counted", "samples", joules)

    def stop(self):
        self.sample()
        return self.reading()


def test_a_recorder_samples_by_itself_and_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(recorder, "KEEP_S", 0.05)
    said = []
    running = Recorder(Counted(), lambda reading, ended: said.append((reading.energy_j, ended)))
    deadline = time.monotonic() + 20
    while len(said) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    last = running.stop()
    joules = [energy for energy, _ in said]
    assert joules == sorted(joules)
    assert joules[0] == 0
    assert said[-1] == (last.energy_j, True)
    assert not any(ended for _, ended in said[:-1])
