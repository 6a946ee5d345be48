"""Every experiment by name, in the order in which they are told."""

from __future__ import annotations

from holdfast.lab.experiment import Experiment
from holdfast.lab.experiments.adding import ADDING
from holdfast.lab.experiments.continual_reber import CONTINUAL_REBER
from holdfast.lab.experiments.copy_memory import COPY_MEMORY
from holdfast.lab.experiments.embedded_reber import EMBEDDED_REBER
from holdfast.lab.experiments.generating_spikes import GENERATING_SPIKES
from holdfast.lab.experiments.initialisation import INITIALISATION
from holdfast.lab.experiments.long_lag import LONG_LAG
from holdfast.lab.experiments.measuring_spikes import MEASURING_SPIKES
from holdfast.lab.experiments.multiplication import MULTIPLICATION
from holdfast.lab.experiments.periodic_functions import PERIODIC_FUNCTIONS
from holdfast.lab.experiments.temporal_order import TEMPORAL_ORDER
from holdfast.lab.experiments.two_sequences import TWO_SEQUENCES
from holdfast.lab.experiments.variants import VARIANTS_ON_CHORALES

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        EMBEDDED_REBER,
        CONTINUAL_REBER,
        LONG_LAG,
        TWO_SEQUENCES,
        ADDING,
        MULTIPLICATION,
        TEMPORAL_ORDER,
        MEASURING_SPIKES,
        GENERATING_SPIKES,
        PERIODIC_FUNCTIONS,
        COPY_MEMORY,
        INITIALISATION,
        VARIANTS_ON_CHORALES,
    )
}
