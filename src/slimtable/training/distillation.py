"""Soft labels: predictions of the uncompressed model, for training the compressed one."""

from __future__ import annotations

import numpy as np

from slimtable.data.clicks.clicks import Clicks
from slimtable.models.ctr import CTRModel
from slimtable.training.ctr_trainer import predict


def soften(clicks: Clicks, teacher: CTRModel, share: float = 1.0) -> Clicks:
    """The same impressions, labelled by a teacher (Hinton et al. 2015, arXiv 1503.02531).

    A compressed model that is retrained on the clicks of its teacher would overfit them; the probabilities of the
    teacher restore only what compression lost.

    Args:
        clicks: ids below the sizes of the teacher's tables.
        teacher: the uncompressed model.
        share: weight of the teacher's probability in a label; the rest is the click itself.

    Returns:
        Clicks with labels between 0 and 1; ids and numeric columns share memory with the input.

    Raises:
        ValueError: the share is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` of the teacher must be in 0..1, got {share}.")
    if share == 0:
        return clicks
    labels = share * predict(teacher, clicks) + (1 - share) * clicks.labels
    return Clicks(labels.astype(np.float32), clicks.numeric, clicks.ids)
