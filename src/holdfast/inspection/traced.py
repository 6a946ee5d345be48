"""From a network and the rows it reads to the strands that the measures take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.inspection.places import REVERSE, first_states, places
from holdfast.inspection.strands import Strand
from holdfast.inspection.subject import Reading, Subject
from holdfast.nn.equations import kept_shares, value_bounds


def strands_of(subject: Subject, readings: Sequence[Reading]) -> list[Strand]:
    """What each layer did in each direction while the network read some rows, from the first layer up.

    Args:
        subject: the network.
        readings: B rows, read as one padded batch; their values are kept, so choose a few hundred at most.

    Raises:
        InputError: there is no reading.
    """
    values = subject.values(readings)
    lengths = np.array([len(reading.steps) for reading in readings])
    strands = []
    for place in places(subject):
        lstm = list(subject.layers.values())[place.module]
        here = {name: value[place.layer, place.direction] for name, value in values[place.module].items()}
        strands.append(
            Strand(
                place.label,
                here,
                lengths,
                place.direction == REVERSE,
                value_bounds(lstm),
                kept_shares(lstm, here),
                first_states(lstm, place),
            )
        )
    return strands
