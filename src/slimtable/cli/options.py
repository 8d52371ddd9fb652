"""Shared options: `--set` for any configuration, and a flag per field of the training settings."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from slimtable.config import Config

if TYPE_CHECKING:
    from slimtable.data import Dataset
    from slimtable.embeddings.base import MethodConfig

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file where it exists.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of datasets.", show_default="$SLIMTABLE_DATA, else the cache folder"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Option of the method; values are JSON, bare words are texts. May be repeated.",
    ),
]
Preset = Annotated[
    str | None, typer.Option(help="Recommended options of the method, such as compact of mgqe; --set overrides them.")
]
ModelName = Annotated[
    str, typer.Option("--model", help="The recommender. Training settings that are not given are those of its paper.")
]
ModelSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--model-set",
        metavar="OPTION=VALUE",
        help="Option of the recommender, such as layers=[128,64,32,16] of neumf. May be repeated.",
    ),
]


Column = Annotated[
    list[str] | None,
    typer.Option(metavar="ROLE=NAME", help="Column of a table that holds user, item, rating or time. May be repeated."),
]
FileFormat = Annotated[
    str | None,
    typer.Option("--format", help="Format of the file, as docs/datasets.md lists them.", show_default="detected"),
]
Separator = Annotated[
    str | None, typer.Option(help="Separator of the fields of a table, such as ' '.", show_default="detected")
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of the text, such as latin-1.", show_default="utf-8")]
Deduplicate = Annotated[
    bool, typer.Option("--deduplicate", help="Drop rows that repeat the user, item and time of another.")
]


def reading_options(
    column: Sequence[str] | None, file_format: str | None, separator: str | None, encoding: str | None
) -> dict[str, Any]:
    """Reader options; only those that are given, since named datasets take none."""
    given = {"columns": parse_columns(column), "format": file_format, "separator": separator, "encoding": encoding}
    return {name: value for name, value in given.items() if value is not None}


def drop_duplicates(source: Dataset, deduplicate: bool) -> Dataset:
    """Drops duplicate rows if requested, else warns on standard error if there are some."""
    from slimtable.data.interactions.interactions import duplicate_rows

    again = duplicate_rows(source.interactions)
    count = int(again.sum())
    if not count:
        return source
    if not deduplicate:
        same = "user, item and time" if source.interactions.times is not None else "user and item"
        typer.echo(
            f"warning: {count:,} of {len(again):,} rows repeat the {same} of another. They may be in both the "
            "training and the test part. --deduplicate drops them.",
            err=True,
        )
        return source
    return dataclasses.replace(source, interactions=source.interactions.select(~again))


def parse_method(method: str, preset: str | None, settings: Sequence[str] | None) -> MethodConfig:
    """The method configuration from `--method`, `--preset` and `--set`.

    Raises:
        ValueError: there is no such method, preset or option.
        TypeError: an option has the wrong type.
    """
    from slimtable.embeddings.base import get_config

    options = parse_settings(settings)
    return get_config(method, options if preset is None else {"preset": preset, **options})


def parse_settings(settings: Sequence[str] | None, flag: str = "--set") -> dict[str, Any]:
    """Parses ``OPTION=VALUE`` pairs.

    Args:
        settings: such as ``["bits=4", "axis=row"]``; None for none.
        flag: the flag, for messages.

    Returns:
        The values by option: parsed as JSON if valid, else texts.

    Raises:
        ValueError: a pair has no name or no ``=``, or an option is given twice.

    Example:
        >>> parse_settings(["codebook_sizes=[256,64]", "variant=vq"])
        {'codebook_sizes': [256, 64], 'variant': 'vq'}
    """
    values: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, value = setting.partition("=")
        name = name.strip()
        if not name or not equals:
            raise ValueError(f"{flag} takes OPTION=VALUE, such as bits=4, got {setting!r}.")
        if name in values:
            raise ValueError(f"{flag} {name} is given twice. Give it once.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
        except RecursionError:
            raise ValueError(
                f"{flag} {name}: its brackets are nested too deeply. Write a list such as [256,64]."
            ) from None
    return values


def parse_model(name: str, settings: Sequence[str] | None) -> Config:
    """The configuration of a model from ``--model-set``.

    Raises:
        ValueError: there is no such model or option, or a pair is not ``OPTION=VALUE``.
        TypeError: a value has the wrong type.
    """
    from slimtable.models.base import get_model

    return get_model(name).config_class.from_dict(parse_settings(settings, "--model-set"))


def parse_columns(columns: Sequence[str] | None) -> dict[str, str | int] | None:
    """Parses ``ROLE=NAME`` pairs; a whole number is the position of a column in a file without a header."""
    pairs = {}
    for column in columns or ():
        role, equals, name = column.partition("=")
        if not role or not equals or not name:
            raise ValueError(f"--column takes ROLE=NAME, such as user=visitor_id, got {column!r}.")
        pairs[role] = int(name) if name.isdecimal() else name
    return pairs or None


def require_free(path: Path, force: bool, reads: Sequence[Path | None] = ()) -> None:
    """Refuses to replace a file.

    Args:
        path: the file to write.
        force: True if it may be replaced.
        reads: files that the command reads, which may never be replaced.

    Raises:
        FileExistsError: the file exists without ``force``, or is one of those that are read.
    """
    if path.exists() and any(file is not None and file.exists() and path.samefile(file) for file in reads):
        raise FileExistsError(f"{path} is read by this command. Choose another name for the new file.")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists. Choose another name, or replace it with --force.")


class TrainingCommand(TyperCommand):
    """A command with a flag for every training setting; the configuration is the ``obj`` of its context.

    The settings depend on ``--model``: `TrainConfig` for rankers, `CTRRunConfig` for CTR models. Settings without a
    flag are those of the paper of the model. Fields are read when the command runs, since that imports PyTorch.
    """

    skipped: ClassVar[tuple[str, ...]] = ()
    """Fields without a flag in this command."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        known = {parameter.name for parameter in self.params}
        self.params += [flag for flag in _training_flags(self.skipped) if flag.name not in known]
        return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        from slimtable.models.base import get_model

        classes = _training_configs()
        config_class = classes["ctr" if get_model(ctx.params["model_name"]).task == "ctr" else "ranking"]
        known = {name for each in classes.values() for name in _setting_names(each) if name not in self.skipped}
        values = {name: ctx.params.pop(name) for name in known}
        given = {name: value for name, value in values.items() if ctx.get_parameter_source(name).name != "DEFAULT"}
        of_others = sorted(set(given) - set(_setting_names(config_class)))
        if of_others:
            flag = "--" + of_others[0].replace("_", "-")
            raise ValueError(f"{flag} is not a training setting of {ctx.params['model_name']}. Leave it out.")
        ctx.obj = config_class.for_model(ctx.params["model_name"], **given)
        _require_device(ctx.obj.device)
        return super().invoke(ctx)


class GridCommand(TrainingCommand):
    """A training command for several seeds, without a flag for one."""

    skipped = ("seed",)


def _training_configs() -> dict[str, Any]:
    """The class of training settings of each kind of model."""
    from slimtable.training.ctr_run import CTRRunConfig
    from slimtable.training.trainer import TrainConfig

    return {"ranking": TrainConfig, "ctr": CTRRunConfig}


def _setting_names(config_class: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class)]


def _training_flags(skipped: tuple[str, ...]) -> list[Any]:
    """The parameters of a command with one flag per training setting of any kind of model."""
    parameters: dict[str, inspect.Parameter] = {}
    for config_class in _training_configs().values():
        meanings, hints = _attributes(config_class), get_type_hints(config_class)
        for field in dataclasses.fields(config_class):
            if field.name in skipped or field.name in parameters:
                continue
            kind: Any = hints[field.name]
            default: Any = field.default
            if get_origin(kind) is tuple:  # a flag that may be repeated
                kind, default = list[get_args(kind)[0]], list(default)  # type: ignore[misc]
            option = typer.Option(
                help=meanings.get(field.name), show_default=_shown_default(field), rich_help_panel="Training"
            )
            parameters[field.name] = inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
            )

    def configured(**_: Any) -> None:
        """Never called; only carries the signature."""

    configured.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    configured.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    app = typer.Typer(add_completion=False)
    app.command()(configured)
    return [flag for flag in typer.main.get_command(app).params if flag.name != "help"]


def _shown_default(field: dataclasses.Field[Any]) -> str | bool:
    """The default of a training setting, with those of models that differ; True if none differs."""
    from slimtable.models.base import get_model, model_names

    classes = _training_configs()
    own = {}
    for name in model_names():
        cls = get_model(name)
        fields = {each.name: each for each in dataclasses.fields(classes["ctr" if cls.task == "ctr" else "ranking"])}
        if field.name in fields:
            own[name] = cls.train_defaults.get(field.name, fields[field.name].default)
    grouped: dict[Any, list[str]] = {}
    for name, value in own.items():
        if value != field.default:
            grouped.setdefault(value, []).append(name)
    ctr = [name for name in own if get_model(name).task == "ctr"]
    others = [
        f"{_shown(value)} for {'CTR models' if names == ctr else ', '.join(names)}" for value, names in grouped.items()
    ]
    return "; ".join([_shown(field.default), *others]) if others else True


def _shown(value: Any) -> str:
    """A value as on a command line; a list as its elements."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _require_device(device: str) -> None:
    """Raises ValueError if PyTorch cannot use a device, before any work is done."""
    import torch

    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError("training needs a CPU or CUDA device")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = "cpu or cuda" if torch.cuda.is_available() else "cpu, the only one that PyTorch finds"
        raise ValueError(f"--device {device} cannot be used here. Use {found}.") from error


def _attributes(config_class: type) -> dict[str, str]:
    """Descriptions of fields from the Attributes sections of a class and its bases, one sentence each."""
    texts: dict[str, str] = {}
    for cls in reversed(config_class.__mro__):  # a subclass documents only its own fields
        section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE)
        texts |= {name: " ".join(text.split()) for name, text in entries}
    return {name: text[0].upper() + text[1:] for name, text in texts.items()}
