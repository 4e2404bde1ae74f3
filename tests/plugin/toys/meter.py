"""One watt, whatever happens."""

from catransformers.energy.estimate import ProcessorEstimate


class ToyMeter(ProcessorEstimate):
    name = "toy-meter"
