"""``slimtable demo``: train once, compress 16×, look at the report card and at served rows, on synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimtable.cli.options import Json
from slimtable.cli.output import show, show_json
from slimtable.serve.reader import open_artifact

_DATA, _SPLIT = "synthetic:200000", "random"
_DIM, _EPOCHS, _PATIENCE = 64, 12, 2
_BATCH_SIZE, _LEARNING_RATE = 4096, 5e-3
_IDS = [0, 1, 2]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files of the demo.")] = Path("runs/demo"),
    budget: Annotated[str, typer.Option(help="Bytes of both tables: 16x smaller, 5%, or 100kB.")] = "16x",
    as_json: Json = False,
) -> None:
    """Train on synthetic data, compress the tables 16 times, write a report card and look rows up."""
    import numpy as np

    from slimtable.artifact.file import write_artifact
    from slimtable.budget import is_relative
    from slimtable.compress import compress_tables, guard_of, make_inputs
    from slimtable.compress.inputs import seen_and_held_out
    from slimtable.compress.report import card_of_inputs
    from slimtable.compress.report_page import headline, write_report_card
    from slimtable.data import load_dataset, split
    from slimtable.embeddings.base import EmbeddingTable, get_config
    from slimtable.training.trainer import TrainConfig, train

    is_relative(budget)  # refused before minutes are spent on training
    parts = split(load_dataset(_DATA), _SPLIT)
    config = TrainConfig(
        embedding_dim=_DIM,
        epochs=_EPOCHS,
        patience=_PATIENCE,
        batch_size=_BATCH_SIZE,
        learning_rate=_LEARNING_RATE,
    )
    model = train(parts, "bprmf", get_config("full"), config, out=out / "run").model
    tables = {}
    for side in ("user", "item"):
        embedding = model.get_submodule(f"{side}_embedding")
        assert isinstance(embedding, EmbeddingTable)
        tables[side] = embedding.weight.detach().numpy()
    for side, table in tables.items():
        np.save(out / f"{side}.npy", table)

    inputs = make_inputs(tables, seen=seen_and_held_out(parts)[0])
    guard = guard_of(inputs, parts)
    result = compress_tables(inputs, budget, guard=guard)
    packed = out / "tables.safetensors"
    write_artifact(packed, dict(result.tables))
    card = card_of_inputs(packed, inputs, result=result, guard=guard)
    json_path, page = write_report_card(card, packed)
    with open_artifact(packed, verify=True) as artifact:
        rows = artifact["item"].lookup(_IDS)
    if as_json:
        files = {"report": str(page), "report_json": str(json_path), "packed": str(packed)}
        served = [{"id": i, "row": row.tolist()} for i, row in zip(_IDS, rows, strict=True)]
        show_json({**files, "verified": True, "card": card.facts, "rows": served})
        return
    show(headline(card.facts))
    for i, row in zip(_IDS, rows, strict=True):
        before, after = (" ".join(f"{value:+.3f}" for value in values[:6]) for values in (tables["item"][i], row))
        show(f"item {i}: {before} …  served as  {after} …")
    show(f"packed and verified: {packed}")
    show(f"report card: {page}")
