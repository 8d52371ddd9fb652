"""Settings of a pipeline: one YAML file, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from slimtable.budget import bits_of_budget
from slimtable.config import Config
from slimtable.data.clicks.schema import Schema
from slimtable.embeddings.base import MethodConfig, get_config
from slimtable.errors import SlimtableError
from slimtable.models.ctr import get_ctr_model
from slimtable.pipeline.budget import takes_budget, takes_rows
from slimtable.settings_file import check_settings, read_yaml
from slimtable.training.ctr_trainer import CTRTrainConfig


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class DataSettings(_Section):
    """The source of the windows: a folder of window files, one file, or a named click dataset.

    Attributes:
        path: a folder with one file for each window, in the order of their names, or one file.
        dataset: a named click dataset instead, such as ``synthetic-ctr``.
        options: options of the named dataset.
        windows: number of equal windows that one file or dataset is cut into.
        rows_per_window: alternatively, the least number of rows of a window.
        min_count: number of occurrences before a value gets a row; None: as in the schema.
        data_root: folder of datasets; None for the default.
    """

    path: Path | None = None
    dataset: str | None = None
    options: dict[str, Any] = {}
    windows: int | None = Field(default=None, ge=2)
    rows_per_window: int | None = Field(default=None, ge=1)
    min_count: int | None = Field(default=None, ge=1)
    data_root: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give either `path` or `dataset`")
        if self.windows is not None and self.rows_per_window is not None:
            raise ValueError("give either `windows` or `rows_per_window`")
        if self.options and self.dataset is None:
            raise ValueError("`options` are those of a named dataset; give `dataset`, or leave them out")
        return self


class ModelSettings(_Section):
    """The click-through-rate model.

    Attributes:
        name: registry name, such as ``deepfm``.
        options: options of the model.
        embedding_dim: width of the vectors, d.
        new_rows: initial rows of new values: copies of the OOV row (``default``), or as in a fresh table
            (``normal``).
    """

    name: str = "deepfm"
    options: dict[str, Any] = {}
    embedding_dim: int = Field(default=16, ge=1)
    new_rows: Literal["default", "normal"] = "default"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_config(lambda: self.config)
        return self

    @property
    def config(self) -> Config:
        """The configuration of the model."""
        return get_ctr_model(self.name).config_class.from_dict(self.options)


class MethodSettings(_Section):
    """A method and its options.

    Attributes:
        method: registry name.
        options: its options; ``preset`` selects recommended ones.
    """

    method: str
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_config(lambda: self.config)
        return self

    @property
    def config(self) -> MethodConfig:
        """The configuration of the method."""
        return get_config(self.method, dict(self.options))


_DEFAULT_METHOD, _ITS_OPTIONS = "saec", {"row_bits": 8}  # rows in 8 bits cost no quality


class CompressSettings(MethodSettings):
    """Compression of the tables of the fields.

    Attributes:
        method: registry name.
        options: its options; those of saec default to rows in 8 bits.
        budget: budget of the tables of all fields, with maps and codes: a share of their float32 bytes such as "3.7%",
            or bytes such as "2MB". None: the options determine the sizes.
        fields: methods of single fields; the budget does not choose their sizes, but counts them.
        sensitivity: weigh errors by their cost in predictions, in methods that support it and when the budget is
            allocated. It is measured when tables are clustered, and kept until they are clustered again.
        stages: numbers of residual stages that the budget may choose for each field, for methods with several
            stages; empty: as in the options.
        max_row_share: largest number of rows of a field, as a share of its ids, unless it keeps all its vectors; for
            methods with shared rows.
        recluster_every: number of windows after which tables are clustered from scratch; 0 for never.
        recluster_when: relative growth of the frequency-weighted error that also triggers it; None for never.
        frequency_decay: factor on the counts of ids at every window; 1 weighs all windows alike.
    """

    method: str = _DEFAULT_METHOD
    budget: str | None = "3.7%"
    fields: dict[str, MethodSettings] = {}
    sensitivity: bool = True
    stages: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        default=(),
        validation_alias=AliasChoices("stages", "levels"),  # its name in settings of earlier versions
        serialization_alias="levels",  # and in the journals of state folders
    )
    max_row_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        validation_alias=AliasChoices("max_row_share", "most_rows"),  # its name in settings of earlier versions
        serialization_alias="most_rows",  # and in the journals of state folders
    )
    recluster_every: int = Field(default=8, ge=0)
    recluster_when: float | None = Field(default=0.5, gt=0)
    frequency_decay: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_options(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("method", _DEFAULT_METHOD) != _DEFAULT_METHOD:
            return given
        options = given.get("options", {})
        if not isinstance(options, dict) or "preset" in options:
            return given
        return {**given, "options": {**_ITS_OPTIONS, **options}}

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if (self.stages or self.max_row_share < 1) and (self.budget is None or not takes_rows(self.config)):
            raise ValueError("`stages` and `max_row_share` need a `budget` and a method whose rows it can allocate")
        if self.budget is not None:
            bits_of_budget(self.budget, 0)
            if not takes_budget(self.config):
                raise ValueError(
                    f"method {self.method} has no size that `budget` could choose; set `budget` to null, and "
                    "choose the size by `options`"
                )
        return self


class RetrainSettings(_Section):
    """Training of the model after compression.

    Attributes:
        share: share of the rows of the window to use, the newest ones.
        epochs: passes over these rows; 0 for no training.
        teacher: share of the uncompressed model's predictions in the labels; the rest are the clicks, which the model
            has been trained on already and would overfit.
        learning_rate: learning rate of the layers; None as in training.
        row_optimizer: optimizer of rows; None as in training.
        row_learning_rate: learning rate of the tables; None as in training.
    """

    share: float = Field(default=1.0, gt=0, le=1)
    epochs: int = Field(default=1, ge=0)
    teacher: float = Field(default=1.0, ge=0, le=1)
    learning_rate: float | None = Field(default=3e-4, gt=0)
    row_optimizer: Literal["adagrad", "adam"] | None = "adam"
    row_learning_rate: float | None = Field(default=1e-3, gt=0)


class Limits(_Section):
    """Limits on how much worse a model may be than another on the same rows.

    Attributes:
        max_auc_drop: largest drop in AUC; None for no limit.
        max_log_loss_rise: largest rise in log loss; None for no limit.
    """

    max_auc_drop: float | None = Field(default=0.01, ge=0)
    max_log_loss_rise: float | None = Field(default=0.01, ge=0)


class GateSettings(Limits):
    """Conditions for serving a model; the first two limits compare it with the uncompressed model.

    Attributes:
        max_auc_drop: largest drop in AUC by compression; None for no limit.
        max_log_loss_rise: largest rise in log loss by compression; None for no limit.
        served: the same two limits, compared with the served version.
        calibration: smallest and largest ratio of predicted to actual clicks; None for no limit.
        min_auc: smallest AUC, regardless of other models; None for no limit.
        max_window_fall: largest fall in AUC of the served version from one window to the next. If it falls further,
            the window is suspect and gives no verdict. None: no window is suspect.
        on_refusal: after a window that made the model worse than the served one, ``roll_back`` to the training state
            before it, or ``keep`` the training.
    """

    served: Limits = Limits(max_auc_drop=0.02, max_log_loss_rise=0.02)
    calibration: tuple[float, float] | None = (0.8, 1.25)
    min_auc: float | None = Field(default=0.5, ge=0, le=1)
    max_window_fall: float | None = Field(default=0.1, gt=0)
    on_refusal: Literal["roll_back", "keep"] = "roll_back"

    @field_validator("calibration")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not 0 <= bounds[0] < bounds[1]:
            raise ValueError("must be the smallest and the largest ratio, such as [0.8, 1.25]")
        return bounds


class PublishSettings(_Section):
    """Published versions.

    Attributes:
        keep: number of versions to keep, including the served one.
        delta: publish a delta to each version from the one before.
    """

    keep: int = Field(default=3, ge=1)
    delta: bool = True


class PipelineSettings(_Section):
    """A whole pipeline.

    Attributes:
        state: the state folder.
        data: source of the windows.
        log_schema: the schema (key ``schema``), or a file of it; None for that of the dataset.
        model: the model.
        train: fields of :class:`slimtable.training.ctr_trainer.CTRTrainConfig`, except its seed.
        compress: compression of its tables.
        retrain: training after compression.
        new_values: rows of values with too few observations: the row that compression gives them (``default``), or the
            mean of the vectors of values that they co-occur with (``cooccurrence``).
        new_values_below: number of observations from which a value is not new any more.
        gate: conditions for serving.
        publish: published versions.
        seed: seed of all randomness.
    """

    state: Path
    data: DataSettings
    log_schema: Schema | Path | None = Field(default=None, alias="schema")
    model: ModelSettings = Field(default_factory=ModelSettings)
    train: dict[str, Any] = {}
    compress: CompressSettings = Field(default_factory=CompressSettings)
    retrain: RetrainSettings = RetrainSettings()
    new_values: Literal["default", "cooccurrence"] = "default"
    new_values_below: int = Field(default=2, ge=1)
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
    seed: int = Field(default=0, ge=0)

    @field_validator("log_schema", mode="plain")
    @classmethod
    def _schema(cls, given: Any) -> Schema | Path | None:
        if given is None or isinstance(given, (Schema, Path)):
            return given
        return Path(given) if isinstance(given, str) else check_settings(given, Schema, "`schema`")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "seed" in self.train:
            raise ValueError("`train` has no seed of its own; set the `seed` of the pipeline")
        _check_config(lambda: self.train_config)
        return self

    @property
    def train_config(self) -> CTRTrainConfig:
        """The configuration of training."""
        return CTRTrainConfig.from_dict({**self.train, "seed": self.seed})

    @property
    def retrain_config(self) -> CTRTrainConfig:
        """The configuration of training after compression."""
        retrain = self.retrain
        chosen = {
            "learning_rate": retrain.learning_rate,
            "row_optimizer": retrain.row_optimizer,
            "row_learning_rate": retrain.row_learning_rate,
            "table_learning_rate": retrain.row_learning_rate,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        return CTRTrainConfig.from_dict({**self.train, **given, "seed": self.seed})

    def identity(self) -> dict[str, Any]:
        """The settings that must not change while a state folder is used, without the schema, as JSON values."""
        data = self.data.model_dump(mode="json", exclude={"path", "data_root"})  # files are identified by their digests
        return {"data": data, "model": self.model.model_dump(mode="json"), "seed": self.seed}

    def compression_key(self) -> dict[str, Any]:
        """The settings that must be equal for row maps of an earlier window to be continued, as JSON values."""
        decisive = {"method", "options", "budget", "fields", "sensitivity", "stages", "max_row_share"}
        chosen = self.compress.model_dump(mode="json", include=decisive, by_alias=True)
        return {**chosen, "new_values": [self.new_values, self.new_values_below]}


def read_settings(path: str | Path) -> PipelineSettings:
    """Reads the settings of a pipeline.

    Args:
        path: a YAML file; paths in it are relative to its folder.

    Returns:
        The settings, with absolute paths.

    Raises:
        SlimtableError: it cannot be read, is not YAML, a key is unknown or missing, or a value does not fit.
    """
    path = Path(path)
    settings = read_yaml(path, PipelineSettings, SlimtableError)
    here = path.resolve().parent

    def absolute(given: Path | None) -> Path | None:
        return None if given is None else here / given.expanduser()

    data = settings.data
    data = data.model_copy(update={"path": absolute(data.path), "data_root": absolute(data.data_root)})
    schema = settings.log_schema
    schema = absolute(schema) if isinstance(schema, Path) else schema
    return settings.model_copy(update={"state": absolute(settings.state), "data": data, "log_schema": schema})


def _check_config(build: Callable[[], object]) -> None:
    """Builds a configuration so that pydantic reports its errors."""
    try:
        build()
    except TypeError as error:  # pydantic takes ValueError only
        raise ValueError(str(error)) from None
