"""``slimtable demo``: from interactions to served rows on synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimtable.cli.options import Json
from slimtable.cli.output import show, show_json
from slimtable.serve.reader import open_artifact

_METHODS, _PACKED = "full,uniform,dpq,mgqe", "mgqe"
_EPOCHS, _BATCH_SIZE, _LEARNING_RATE = 4, 2048, 5e-3  # takes seconds per method; validation has peaked by then
_IDS = [0, 1, 2]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the files of the demo.")] = Path("runs/demo"),
    as_json: Json = False,
) -> None:
    """Train, compare, pack, verify and look up on synthetic data, in about a minute."""
    from slimtable.bench import console_table, parse_methods, run_bench
    from slimtable.training.packing import pack_model, restore_run
    from slimtable.training.trainer import TrainConfig

    config = TrainConfig(epochs=_EPOCHS, batch_size=_BATCH_SIZE, learning_rate=_LEARNING_RATE)
    result = run_bench("synthetic", "gmf", parse_methods(_METHODS), train=config, seeds=[0], out=out)
    # A folder may hold older runs of other settings; this one was trained, or found finished, just now.
    run = max((out / "runs").glob(f"{_PACKED}-*-s0"), key=lambda folder: folder.stat().st_mtime)
    restored = restore_run(run)
    packed = out / f"{_PACKED}.safetensors"
    file_size = pack_model(restored.model, packed, vocabularies=restored.vocabularies, about=restored.identity)
    with open_artifact(packed, verify=True) as artifact:
        items = artifact["item"]
        rows = items.lookup(_IDS)
        raw_ids = [items.vocabulary[i] for i in _IDS]  # type: ignore[index]
    if as_json:
        show_json(
            {
                "records": result.records,
                "report": str(result.report),
                "packed": str(packed),
                "file_bytes": file_size,
                "verified": True,
                "rows": [{"id": i, "row": row.tolist()} for i, row in zip(_IDS, rows, strict=True)],
            }
        )
        return
    show(console_table(result))
    show(f"packed and verified: {packed}, {file_size:,} bytes with raw ids")
    for i, raw_id, row in zip(_IDS, raw_ids, rows, strict=True):
        show(f"item {i} (raw id {raw_id}): " + " ".join(f"{value:.4f}" for value in row[:6]) + " …")
    show(f"report: {result.report}")
