"""What a recommender is judged by: ranking or error, and which figures the tables lead with."""

from __future__ import annotations

from dataclasses import dataclass

from slimtable.bench.results import Record
from slimtable.models.base import get_model


@dataclass(frozen=True)
class Measure:
    """One figure of quality.

    Attributes:
        mask: the group of metrics of a record in which it stands.
        metric: its key in that group.
        name: its name in tables.
        scale: what it is multiplied by to be shown; 100 for percent.
        lower_is_better: whether it is an error.
        digits: how many are shown behind the point.
    """

    mask: str
    metric: str
    name: str
    scale: float = 1.0
    lower_is_better: bool = False
    digits: int = 2

    @property
    def unit(self) -> str:
        """What to write behind the name on an axis."""
        return ", %" if self.scale == 100 else ""

    def of(self, record: Record, epoch: str = "last") -> float:
        """Its value in a record, as it is shown."""
        return self.scale * float(record["metrics"][epoch][self.mask][self.metric])


HIT_RATE = Measure("train", "hit_rate@10", "HR@10", 100.0)
NDCG = Measure("train", "ndcg@10", "NDCG@10", 100.0)
RECALL = Measure("train+valid", "capped_recall@20", "R@20", 100.0)
NDCG_20 = Measure("train+valid", "ndcg@20", "NDCG@20", 100.0)
LOG_LOSS = Measure("clicks", "log_loss", "log loss", lower_is_better=True, digits=4)
AUC = Measure("clicks", "auc", "AUC", digits=4)
RMSE = Measure("all", "rmse", "RMSE", lower_is_better=True)
MAE = Measure("all", "mae", "MAE", lower_is_better=True)


def measures_of(record: Record) -> tuple[Measure, Measure]:
    """The two figures that a table leads with, the more important one first; only the model of a record counts."""
    return leading_measures(record["backbone"])


def leading_measures(model_name: str) -> tuple[Measure, Measure]:
    """The figures that runs of a model are judged by: those that its best epoch is chosen by, on the test part."""
    chosen = get_model(model_name).selection.metric
    return next(
        (pair for pair in ((LOG_LOSS, AUC), (RMSE, MAE), (RECALL, NDCG_20)) if pair[0].metric == chosen),
        (HIT_RATE, NDCG),
    )
