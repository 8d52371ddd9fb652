"""Progress bars, on terminals only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LOOK_EVERY = 0.5  # seconds


def progress_bar(enabled: bool = True) -> Progress:
    """A bar on standard error that vanishes when done; it shows nothing when not ``enabled`` or when piped."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (enabled and console.is_terminal),
    )


@contextmanager
def watch(what: str, total: int, done: Callable[[], int], enabled: bool = True) -> Iterator[None]:
    """A progress bar for work in other processes, until the block ends.

    Args:
        what: description.
        total: number of steps.
        done: returns the number of finished steps; called regularly in a separate thread.
        enabled: show the bar if standard error is a terminal.
    """
    with progress_bar(enabled) as bar:
        if bar.disable or not total:
            yield
            return
        task = bar.add_task(what, total=total)
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_EVERY):
                bar.update(task, completed=done())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
