"""Event times of a run's frames on one time axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from erfnet_ros.evaluation.results.result import Result


def event_times_s(result: Result) -> npt.NDArray[np.float64]:
    """Return each record's seconds since the first image of its bag, one bag a frame's time after another.

    Stamps that jump back are held at the greatest before, so that the axis runs one way: the moments ascend.
    """
    moments = np.zeros(len(result.records))
    bags = np.array([record.bag for record in result.records], np.int64)
    stamps = np.array([record.stamp_ns for record in result.records], np.int64)
    end = 0.0
    for bag in dict.fromkeys(bags.tolist()):
        own = bags == bag
        first = int(stamps[own][0])
        moments[own] = end + np.maximum.accumulate((stamps[own] - first) / 1e9)
        span = float(moments[own][-1]) - end
        end += span + span / max(1, int(own.sum()) - 1)
    return np.maximum.accumulate(moments) if len(moments) else moments
