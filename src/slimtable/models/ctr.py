"""Base class of click-through-rate models: a logit per impression, from field tables and numeric features."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from slimtable.config import Config
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, create
from slimtable.methods.full import FullConfig
from slimtable.models.base import Recommender, Selection, get_model, model_names
from slimtable.models.parts.fields import CTRBatch, FieldTables


class CTRModel(Recommender):
    """A model of the probability of a click.

    Args:
        fields: the tables of all fields.
        num_numeric: number of numeric columns, I.
        config: options; None for the defaults.
    """

    task: ClassVar[Literal["ctr"]] = "ctr"
    selection: ClassVar[Selection] = Selection("clicks", "log_loss", lower_is_better=True)
    """The metric that selects the best epoch: the log loss of the validation part."""
    first_order: ClassVar[bool] = False
    """True if the last column of every table is a first-order weight, as in factorization machines."""

    def __init__(self, fields: FieldTables, num_numeric: int, config: Config | None = None) -> None:
        super().__init__()
        self.fields = fields
        self.num_numeric = num_numeric
        self.config = config if config is not None else self.config_class()
        self.build(len(fields.tables), num_numeric, fields.width - self.first_order)

    def embeddings(self) -> dict[str, EmbeddingTable]:
        return self.fields.embeddings()

    @classmethod
    def width(cls, embedding_dim: int) -> int:
        """Width of each table for vectors of ``embedding_dim``; a first-order weight adds one."""
        return embedding_dim + cls.first_order

    @abstractmethod
    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        """Creates the layers outside the tables."""

    @abstractmethod
    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        """Logits (B,) of rows (B, F, width) and numeric features (B, I)."""

    def forward(self, batch: CTRBatch) -> Tensor:
        """Logits (B,) of a batch of B impressions.

        Raises:
            IndexError: an id is out of range.
            ValueError: the numbers of fields or numeric columns differ from those of the model.
        """
        if len(batch.ids) != len(self.fields.tables) or batch.numeric.shape[1] != self.num_numeric:
            raise ValueError(
                f"This model takes {len(self.fields.tables)} fields and {self.num_numeric} numeric columns, and "
                f"the clicks have {len(batch.ids)} and {batch.numeric.shape[1]}. Read both by the same schema."
            )
        return self.logits(self.fields(batch), batch.numeric)


def ctr_model_names() -> list[str]:
    """Names of all CTR models, sorted."""
    return model_names("ctr")


def get_ctr_model(name: str) -> type[CTRModel]:
    """The class of a CTR model.

    Raises:
        ValueError: there is no such model, or it is a ranker; the message lists the known ones.
    """
    cls = get_model(name)
    if not issubclass(cls, CTRModel):
        raise ValueError(f"Model {name} predicts no clicks. CTR models: {', '.join(ctr_model_names())}.")
    return cls


def build_ctr_model(
    name: str,
    field_sizes: Mapping[str, int],
    num_numeric: int,
    embedding_dim: int,
    config: MethodConfig | Mapping[str, MethodConfig] | None = None,
    options: Config | None = None,
    *,
    frequencies: Mapping[str, Tensor] | None = None,
) -> CTRModel:
    """Builds a CTR model.

    Args:
        name: registry name.
        field_sizes: number of ids by field, including the OOV id.
        num_numeric: number of numeric columns.
        embedding_dim: width of the vectors, d.
        config: configuration of the method, one for all fields or one per field; None for uncompressed tables.
        options: options of the model; None for its defaults.
        frequencies: (ids,) training counts by field, for methods that use them.

    Returns:
        The model.

    Raises:
        ValueError: there is no such model, a field has no configuration, or one does not fit.
    """
    cls = get_ctr_model(name)
    configs = config if isinstance(config, Mapping) else dict.fromkeys(field_sizes, config or FullConfig())
    if set(configs) != set(field_sizes):
        raise ValueError(f"Fields {sorted(set(configs) ^ set(field_sizes))} have no configuration, or do not exist.")
    tables = {
        field: create(configs[field], size, cls.width(embedding_dim), frequencies=(frequencies or {}).get(field))
        for field, size in field_sizes.items()
    }
    return cls(FieldTables(tables), num_numeric, options)
