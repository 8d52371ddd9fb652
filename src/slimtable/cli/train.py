"""``slimtable train``: train, test and pack one model."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimtable.cli.options import (
    Column,
    DataRoot,
    Deduplicate,
    Encoding,
    FileFormat,
    Json,
    ModelName,
    ModelSettings,
    Preset,
    Separator,
    Settings,
    drop_duplicates,
    parse_method,
    parse_model,
    reading_options,
)
from slimtable.cli.output import show, show_json, size, table

if TYPE_CHECKING:
    from slimtable.data import Split
    from slimtable.data.clicks.parts import ClickParts
    from slimtable.training.ctr_run import CTRRunConfig
    from slimtable.training.trainer import TrainConfig

RESULT, PACKED = "result.json", "model.safetensors"
"""Files that the command adds to the run folder."""


def train(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="Name of a dataset (see `slimtable data list`), or a file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it is resumed.")],
    method: Annotated[str, typer.Option(help="Compression method of the tables.")] = "mgqe",
    preset: Preset = None,
    settings: Settings = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Bytes served by all tables together: 4% of float32, 16x smaller, or 2MB."),
    ] = None,
    model_name: ModelName = "gmf",
    model_settings: ModelSettings = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="leave-two-out, random, holdout, temporal, fixed or pooled; click logs: temporal or random.",
            show_default="the default of the dataset",
        ),
    ] = None,
    column: Column = None,
    file_format: FileFormat = None,
    separator: Separator = None,
    encoding: Encoding = None,
    deduplicate: Deduplicate = False,
    data_root: DataRoot = None,
    threads: Annotated[int, typer.Option(min=1, help="Number of threads; small tables train fastest with one.")] = 1,
    best: Annotated[
        bool, typer.Option("--best", help="Test and pack the best epoch on the validation part instead of the last.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a recommender with compressed tables, test it, and pack the model.

    Rankers use interactions, CTR models use click logs. The folder then holds result.json, model.safetensors, the log
    and the checkpoint.
    """
    import torch

    from slimtable.budget import is_relative
    from slimtable.files import write_json
    from slimtable.training.evaluation import evaluate
    from slimtable.training.packing import pack_model
    from slimtable.training.trainer import train as train_model

    config: TrainConfig | CTRRunConfig = context.obj
    method_config = parse_method(method, preset, settings)
    model_config = parse_model(model_name, model_settings)
    if budget is not None:
        is_relative(budget)  # checked before anything is read
    reading = reading_options(column, file_format, separator, encoding)
    loaded = _load(model_name, data, split, reading, data_root, deduplicate)
    parts = loaded.parts
    if best and not (0 < config.evaluate_every <= config.epochs and len(parts.valid)):
        raise ValueError("--best needs a validation part, and --evaluate-every of 1 to the number of epochs.")

    torch.set_num_threads(threads)
    trained = train_model(parts, model_name, method_config, config, budget=budget, model_config=model_config, out=out)
    model, epoch = trained.model, trained.epoch
    if best:
        if trained.best_epoch is None or trained.best_state is None:
            raise ValueError("--best: no epoch was validated. Lower --evaluate-every.")
        model.load_state_dict(trained.best_state)
        epoch = trained.best_epoch
    model.eval()
    about = {
        "data": loaded.name,
        "method": method,
        "method_config": method_config.to_dict(),
        "train": config.to_dict(),
        "epoch": epoch,
        "metrics": evaluate(model, parts, "test", getattr(config, "ks", (10,))),
    }
    file_size = pack_model(model, out / PACKED, loaded.vocabularies, about)
    result = {
        **about,
        "backbone": model_name,
        "backbone_config": model_config.to_dict(),
        **({"budget": budget} if budget is not None else {}),
        **loaded.facts,
        "interactions": {part: len(getattr(parts, part)) for part in ("train", "valid", "test")},
        "best_epoch": trained.best_epoch,
        "bits": model.bits(),
        "full_bits": model.full_bits(),
        "size_percent": 100 * model.bits() / model.full_bits(),
        "table_bits": sum(table.bits() for table in model.embeddings().values()),
        "full_table_bits": sum(table.dense_bits for table in model.embeddings().values()),
        "file": PACKED,
        "file_bytes": file_size,
        "seconds_per_epoch": trained.seconds_per_epoch,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    write_json(out / RESULT, result)  # last, so that it marks a finished run
    if as_json:
        show_json(result)
    else:
        _show(result, out, model.task)


@dataclasses.dataclass
class _Loaded:
    """The data of a training run.

    Attributes:
        parts: training, validation and test part.
        name: name of the data.
        vocabularies: raw ids of users and items, or of each field.
        facts: sizes of the data, for the result.
    """

    parts: Split | ClickParts
    name: str
    vocabularies: dict[str, Any]
    facts: dict[str, Any]


def _load(
    model_name: str,
    data: str,
    split: str | None,
    reading: dict[str, Any],
    data_root: Path | None,
    deduplicate: bool,
) -> _Loaded:
    """Loads interactions for rankers, or a click log for CTR models."""
    from slimtable.data import load_dataset, order_by_frequency
    from slimtable.data import split as split_data
    from slimtable.data.clicks.parts import load_click_parts
    from slimtable.models.base import get_model

    if get_model(model_name).task == "ctr":
        if reading or deduplicate:
            flag = "--deduplicate" if deduplicate else f"--{next(iter(reading)).removesuffix('s')}"
            raise ValueError(f"{flag} is for interactions; {model_name} reads a click log by its schema.")
        clicks, _ = load_click_parts(data, data_root, split)
        values = {field: clicks.vocabularies[field].values() for field in clicks.sizes}
        return _Loaded(clicks, data, values, {"fields": clicks.sizes})
    source = drop_duplicates(load_dataset(data, data_root=data_root, **reading), deduplicate)
    parts = order_by_frequency(split_data(source, split))
    if not len(parts.test):
        raise ValueError(f"The split leaves nothing to test: no user of {data} has enough rows. Try --split random.")
    vocabularies = {"user": parts.train.user_vocabulary, "item": parts.train.item_vocabulary}
    return _Loaded(parts, source.name, vocabularies, {"users": parts.num_users, "items": parts.num_items})


def _show(result: dict[str, Any], out: Path, task: str) -> None:
    metrics = result["metrics"]
    names = [name for name in next(iter(metrics.values())) if "/" not in name and name != "rows"]
    head = f"{result['backbone']} with {result['method']} tables on {result['data']}, epoch {result['epoch']}: "
    if task == "ranking":
        rows = [[mask, *(f"{100 * values[name]:.2f}" for name in names)] for mask, values in metrics.items()]
        show(head + "test metrics in %, by mask")
        show(table(["mask", *names], rows))
    else:
        rows = [[part, *(f"{values[name]:,.4f}" for name in names)] for part, values in metrics.items()]
        show(head + ("predicted clicks on the test part" if task == "ctr" else "errors on the test part"))
        show(table(["pairs" if task == "regression" else "test part", *names], rows))
    show(
        f"size: {size(result['bits'] / 8)}, {result['size_percent']:.2f}% of the uncompressed "
        f"{size(result['full_bits'] / 8)}; tables: {size(result['table_bits'] / 8)}, "
        f"{100 * result['table_bits'] / result['full_table_bits']:.2f}%"
    )
    show(f"packed: {out / PACKED} ({result['file_bytes']:,} bytes with raw ids)")
