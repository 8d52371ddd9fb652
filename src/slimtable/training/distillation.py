"""Soft labels: what the uncompressed model predicts, for the compressed one to learn from."""

from __future__ import annotations

import numpy as np

from slimtable.data.clicks.clicks import Clicks
from slimtable.models.ctr import CTRModel
from slimtable.training.ctr_trainer import predict


def soften(clicks: Clicks, teacher: CTRModel, share: float = 1.0) -> Clicks:
    """The same impressions, labelled by a teacher (Hinton et al. 2015, arXiv 1503.02531).

    A compressed model that is trained again on clicks that its teacher was trained on would overfit them; from
    the probabilities of the teacher it learns what compression has taken away, and no more.

    Args:
        clicks: ids below the sizes of the teacher's tables.
        teacher: the uncompressed model.
        share: of the teacher's probability in a label; the rest is the click itself.

    Returns:
        Clicks with labels between 0 and 1; ids and numeric columns share memory with the input.

    Raises:
        ValueError: the share does not lie in 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` of the teacher must lie in 0..1, got {share}.")
    if share == 0:
        return clicks
    labels = share * predict(teacher, clicks) + (1 - share) * clicks.labels
    return Clicks(labels.astype(np.float32), clicks.numeric, clicks.ids)
