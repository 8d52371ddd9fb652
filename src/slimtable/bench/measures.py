"""The main metrics of each kind of model, which tables show first."""

from __future__ import annotations

from dataclasses import dataclass

from slimtable.bench.results import Record
from slimtable.models.base import get_model


@dataclass(frozen=True)
class Measure:
    """A metric as tables show it.

    Attributes:
        mask: the group of metrics of a record that contains it.
        metric: its key in that group.
        name: its name in tables.
        scale: factor for display; 100 for percent.
        lower_is_better: true for errors.
        digits: number of decimals shown.
    """

    mask: str
    metric: str
    name: str
    scale: float = 1.0
    lower_is_better: bool = False
    digits: int = 2

    @property
    def unit(self) -> str:
        """Unit in axis labels."""
        return ", %" if self.scale == 100 else ""

    def of(self, record: Record, epoch: str = "last") -> float:
        """The value in a record, scaled for display."""
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
    """The two main metrics of the model of a record, the more important one first."""
    return leading_measures(record["backbone"])


def leading_measures(model_name: str) -> tuple[Measure, Measure]:
    """The two main metrics of a model: the one that selects its best epoch, and a second one."""
    chosen = get_model(model_name).selection.metric
    return next(
        (pair for pair in ((LOG_LOSS, AUC), (RMSE, MAE), (RECALL, NDCG_20)) if pair[0].metric == chosen),
        (HIT_RATE, NDCG),
    )
