"""``pack``, ``inspect``, ``verify`` and ``lookup``: make and inspect artifacts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from slimtable.artifact.card import card_paths, read_card
from slimtable.cli.options import Force, Json, require_free
from slimtable.cli.output import show, show_json, table
from slimtable.serve.reader import Artifact, Table, open_artifact

TABLE = "table"
"""Name of the table in a file made by `slimtable compress`."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="A file made by `slimtable train`, `pack` or `compress`.")]
Out = Annotated[Path, typer.Option(help="Path of the .safetensors file, written atomically.")]


class Epoch(StrEnum):
    """The epoch of a run to pack."""

    last = "last"
    best = "best"


def pack(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder written by `slimtable train`.")],
    out: Out,
    epoch: Annotated[
        Epoch | None,
        typer.Option(
            help="The last epoch, or the best on the validation part.",
            show_default="the best if training had patience, else the last",
        ),
    ] = None,
    no_vocabulary: Annotated[bool, typer.Option("--no-vocabulary", help="Leave the raw ids out.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Pack the model of a run into one file."""
    from slimtable.training.packing import pack_model, restore_run

    require_free(out, force)
    restored = restore_run(run, None if epoch is None else epoch.value)
    about = {**restored.identity, "epoch": restored.epoch}
    pack_model(restored.model, out, vocabularies=None if no_vocabulary else restored.vocabularies, about=about)
    inspect(out, as_json=as_json)


def inspect(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="An artifact; with --codes also integers (N, M) in .npy or Parquet."),
    ],
    codes: Annotated[
        bool, typer.Option("--codes", help="Show how well codes use their codebooks, and how many ids share all codes.")
    ] = False,
    codebook_size: Annotated[
        int | None,
        typer.Option(min=1, help="Centroids per codebook of a .npy or Parquet file.", show_default="largest code + 1"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the tables of an artifact and their sizes, or the health of its codes."""
    if codes:
        from slimtable.cli.codes import inspect_codes

        inspect_codes(file, codebook_size, as_json)
        return
    if codebook_size is not None:
        raise ValueError("--codebook-size needs --codes.")
    with open_artifact(file, verify=True) as artifact:
        if as_json:
            show_json(
                {
                    "path": str(file),
                    "file_bytes": artifact.file_size,
                    "tables": {name: facts_of(served) for name, served in artifact.items()},
                    "tensors": {
                        name: {"shape": list(tensor.shape), "dtype": tensor.dtype.name}
                        for name, tensor in artifact.tensors.items()
                    },
                    "model": artifact.model,
                    "report": read_card(file, artifact.digest),
                }
            )
        else:
            _show_artifact(artifact)


def verify(file: File, as_json: Json = False) -> None:
    """Check every byte of an artifact against its checksums, and every value."""
    with open_artifact(file, verify=True) as artifact:
        if as_json:
            show_json({"path": str(file), "file_bytes": artifact.file_size, "verified": True})
        else:
            show(f"{file}: all {artifact.file_size:,} bytes of {len(artifact)} tables are as they were written")


def lookup(
    file: File,
    table_name: Annotated[str, typer.Argument(metavar="TABLE", help="Name of a table; see `slimtable inspect`.")],
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids from 0; raw ids with --raw.")],
    raw: Annotated[bool, typer.Option("--raw", help="The ids are raw ids, as in the training data.")] = False,
    limit_dims: Annotated[int, typer.Option(min=1, help="Values to show of each row; --json gives all.")] = 8,
    as_json: Json = False,
) -> None:
    """Look up rows of a table, without PyTorch."""
    with open_artifact(file, verify=True) as artifact:
        if table_name not in artifact:
            raise ValueError(f"{file} has no table {table_name!r}. Its tables: {', '.join(artifact)}.")
        served = artifact[table_name]
        rows = served.lookup(_ids(served, ids, raw)).tolist()
    if as_json:
        show_json(
            {"table": table_name, "rows": [{"id": word, "row": row} for word, row in zip(ids, rows, strict=True)]}
        )
        return
    for word, row in zip(ids, rows, strict=True):
        more = " …" if len(row) > limit_dims else ""
        show(f"{word}: " + " ".join(f"{value:.5g}" for value in row[:limit_dims]) + more)


def _ids(served: Table, words: list[str], raw: bool) -> Any:
    """Row numbers (n,) of the ids on the command line."""
    as_texts = raw and served.vocabulary is not None and isinstance(served.vocabulary[0], str)
    if as_texts:
        return served.ids_of(words)
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        hint = "" if raw or served.vocabulary is None else " Raw ids need --raw."
        raise ValueError(f"Ids of table {served.name!r} are whole numbers: {error}.{hint}") from error
    return served.ids_of(numbers) if raw else numbers


def facts_of(served: Table) -> dict[str, Any]:
    """A table as JSON values."""
    return {
        "num_embeddings": served.num_embeddings,
        "embedding_dim": served.embedding_dim,
        "padding_idx": served.padding_idx,
        "method": served.method,
        "method_config": served.method_config,
        "layout": served.layout,
        "bits": served.bits,
        "bytes": served.nbytes,
        "compression_ratio": served.compression_ratio,
        "size_percent": 100 / served.compression_ratio,
        "has_vocabulary": served.vocabulary is not None,
    }


def _show_artifact(artifact: Artifact) -> None:
    rows = [
        [
            name,
            f"{served.num_embeddings:,} × {served.embedding_dim}",
            served.method or "-",
            served.layout,
            f"{served.nbytes:,}",
            f"{100 / served.compression_ratio:.2f}%",
            f"{served.compression_ratio:.2f}×",
            "yes" if served.vocabulary is not None else "no",
        ]
        for name, served in artifact.items()
    ]
    show(f"{artifact.path}: {artifact.file_size:,} bytes")
    show(
        table(
            ["table", "shape", "method", "layout", "bytes", "size", "smaller", "raw ids"],
            rows,
            texts=("method", "layout"),
        )
    )
    card = read_card(artifact.path, artifact.digest)
    if card is not None:
        show(f"report card: {card_paths(artifact.path)[1]}: {card.get('headline', '')}")
    for name, tensor in artifact.tensors.items():
        show(f"tensor {name}: {' × '.join(map(str, tensor.shape))} {tensor.dtype.name}, uncompressed")
