"""``delta`` and ``patch``: make and apply deltas between artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimtable.cli.options import Force, Json, require_free
from slimtable.cli.output import show, show_json, size

Old = Annotated[Path, typer.Argument(metavar="OLD", help="The artifact that readers have.")]


def delta(
    old: Old,
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The artifact that they should get.")],
    out: Annotated[Path, typer.Option(help="Path of the delta, written atomically.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the changes between two artifacts to a small file for `slimtable patch`."""
    from slimtable.artifact.delta import write_delta

    require_free(out, force)
    made = write_delta(old, new, out)
    if as_json:
        show_json({"path": str(out), **made.to_dict()})
        return
    share = 100 * made.bytes / made.new_bytes
    show(f"rows: {made.changed_rows:,} changed, {made.added_rows:,} added")
    show(f"assignments: {made.changed_assignments:,} changed, {made.added_assignments:,} added")
    show(f"size: {size(made.bytes)} in {out}, {share:.2f}% of {size(made.new_bytes)}")


def patch(
    old: Old,
    delta_file: Annotated[Path, typer.Argument(metavar="DELTA", help="A file made by `slimtable delta`.")],
    out: Annotated[Path, typer.Option(help="Path of the new artifact, written atomically.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make the new artifact from the old one and a delta, byte for byte."""
    from slimtable.artifact.delta import apply_delta

    require_free(out, force)
    file_size = apply_delta(old, delta_file, out)
    if as_json:
        show_json({"path": str(out), "file_bytes": file_size})
    else:
        show(f"{out}: {file_size:,} bytes, as they were when the delta was made")
