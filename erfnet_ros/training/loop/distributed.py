"""Several processes that train together: which of them this one is, before Lightning has joined them."""

from __future__ import annotations

import os

from lightning.fabric.utilities.rank_zero import rank_zero_only


def is_first_process() -> bool:
    """Tell whether this process speaks and writes for all that train together."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def local_rank() -> int:
    """Return which of its machine's processes this one is, as Lightning, torchrun or SLURM tell it."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
