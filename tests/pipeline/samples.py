"""Tiny windows of clicks, and settings of pipelines over them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROWS = 400
SCHEMA = {
    "label": "click",
    "time": "time",
    "integers": ["age"],
    "fields": [{"name": "user"}, {"name": "film"}, {"name": "tags", "separator": "|"}],
}
HEADER = "time,click,user,film,age,tags"


def window_text(number: int, *, flip: bool = False, rows: int = ROWS) -> str:
    """A window in which users like films of their own kind; later windows have new users and films."""
    generator = np.random.default_rng(number)
    users = generator.integers(0, 60 + 6 * number, rows)
    films = generator.integers(0, 40 + 4 * number, rows)
    likes = (users % 2 == films % 2) ^ (generator.random(rows) < 0.1) ^ flip
    ages = generator.integers(0, 90, rows)
    lines = [
        f"{1000 * number + place},{int(like)},u{user},f{film},{age},{'|'.join(['a', 'b', 'c'][: film % 4])}"
        for place, (like, user, film, age) in enumerate(zip(likes, users, films, ages, strict=True))
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def write_windows(folder: Path, count: int, *, poisoned: int | None = None) -> Path:
    """A folder with a file for each window."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"window-{number:03}.csv").write_text(window_text(number, flip=number == poisoned))
    return folder


def settings_of(**others: Any) -> dict[str, Any]:
    """Settings of a pipeline that learns the windows and lets all of it through, with some changes."""
    chosen: dict[str, Any] = {
        "state": "state",
        "data": {"path": "windows"},
        "schema": SCHEMA,
        "model": {"name": "fm", "embedding_dim": 4},
        "train": {"batch_size": 64, "epochs": 3, "row_learning_rate": 0.3, "learning_rate": 0.01},
        "compress": {"budget": "40%", "recluster_every": 3, "options": {"iterations": 3}},
        "gate": {
            "max_auc_drop": None,
            "max_log_loss_rise": None,
            "served": {"max_auc_drop": 0.15, "max_log_loss_rise": None},
            "calibration": None,
            "max_window_fall": 0.3,
        },
    }
    for key, value in others.items():
        own = chosen.get(key)
        chosen[key] = {**own, **value} if isinstance(own, dict) and isinstance(value, dict) else value
    return chosen


def write_settings(folder: Path, **others: Any) -> Path:
    """A settings file in a folder."""
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings_of(**others)))
    return path


def published(state: Path) -> dict[str, str]:
    """Every file that readers see, with a digest of its bytes; and where the pointer leads."""
    folder = state / "published"
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "current" not in path.parts
    }
    return {**files, "current": str((folder / "current").readlink())}


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records but for what depends on the clock."""
    kept = [{key: value for key, value in record.items() if key != "seconds"} for record in history]
    for record in kept:
        record["source"] = {key: value for key, value in record["source"].items() if key != "mtime_ns"}
    return kept


class Killed(BaseException):
    """Stands for a process that is killed."""


def dying(replace: Callable[..., Any], after: int, late: bool) -> Callable[..., Any]:
    """``os.replace``, but at the given call, and at every one from there on, the process dies.

    Args:
        replace: the real one.
        after: calls that go well.
        late: whether the call at which it dies still takes effect.
    """
    calls = 0

    def replaced(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return replace(*arguments, **options)
        if late and calls == after + 1:
            replace(*arguments, **options)
        raise Killed

    return replaced
