"""The loop: takes one window after another through all stages, and resumes after the last finished stage."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.errors import CheckpointError
from slimtable.files import write_json
from slimtable.pipeline import stages
from slimtable.pipeline.compression import check_fields
from slimtable.pipeline.folder import (
    JOURNAL,
    PUBLISHED,
    RESULT,
    SETTINGS,
    StateFolder,
    explaining_a_full_disk,
    read_state,
)
from slimtable.pipeline.gate import expected_auc, judge
from slimtable.pipeline.history import HISTORY, History, Record
from slimtable.pipeline.publishing import MODEL, publish, repair_pointer
from slimtable.pipeline.repair import new_journal
from slimtable.pipeline.settings import PipelineSettings
from slimtable.pipeline.stages import VOCABULARIES, Result, Task
from slimtable.pipeline.windows import WindowSource, open_source
from slimtable.pool import one_thread

_FORMAT = new_journal()["format"]
_REMEMBERED = (("accepted", "train"), ("groups", "compress"))
_STAGES = {"train": stages.train, "compress": stages.compress, "retrain": stages.retrain, "evaluate": stages.evaluate}


def run_pipeline(
    settings: PipelineSettings,
    *,
    follow: bool = False,
    windows: int | None = None,
    poll_seconds: float = 2.0,
    on_stage: Callable[[int, str], None] | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    on_window: Callable[[Record], None] | None = None,
    on_repair: Callable[[str], None] | None = None,
) -> list[Record]:
    """Processes all available windows except the last one, on which the window before it is tested.

    Finished stages are not repeated. If the process is killed, the next call resumes after the last finished stage and
    ends with the same artifacts, byte for byte.

    Args:
        settings: settings of the pipeline.
        follow: wait for new windows when all are processed.
        windows: stop when this many are finished in total; None for no limit.
        poll_seconds: seconds between two looks for new windows.
        on_stage: called with the window and the stage before a stage begins; with stage ``wait`` before waiting.
        on_batch: called during training with the number of steps done and of all steps.
        on_window: called with the record of every finished window.
        on_repair: called with a description of anything that was repaired at the start.

    Returns:
        The records of the windows finished by this call.

    Raises:
        DatasetError: a window cannot be read, has changed, or is out of order.
        SlimtableError: another process runs the pipeline, or the disk is full.
        CheckpointError: the state folder belongs to other settings, or is damaged.
    """
    source = open_source(settings)
    check_fields(settings.compress, [field.name for field in source.schema.fields])
    follow = follow and source.grows
    with one_thread(), explaining_a_full_disk(settings.state), StateFolder(settings.state) as folder:
        loop = _Loop(settings, source, folder, on_stage or (lambda window, stage: None), on_batch)
        if loop.repaired and on_repair is not None:
            on_repair(loop.repaired)
        records: list[Record] = []
        while windows is None or loop.window < windows:
            if not loop.can_start(settled=follow):
                if not follow:
                    break
                loop.on_stage(loop.window, "wait")
                time.sleep(poll_seconds)
                continue
            record = loop.finish_window()
            records.append(record)
            if on_window is not None:
                on_window(record)
        return records


class _Loop:
    """The journal of a running pipeline, and its next steps.

    The journal holds: ``format``; ``window``, the window in progress; ``ingested``, the results of ingesting this
    window and the next; ``stages``, the results of its finished stages; ``accepted``, the window whose training state
    is continued, with its ``sizes``; ``served``, the served version; ``groups``, the row maps of that version; and
    ``served_auc``, its expected AUC on the next window.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        source: WindowSource,
        folder: StateFolder,
        on_stage: Callable[[int, str], None],
        on_batch: Callable[[int, int], None] | None,
    ) -> None:
        self.settings, self.source, self.folder = settings, source, folder
        self.on_stage, self.on_batch = on_stage, on_batch
        schema = source.schema.model_dump(mode="json", by_alias=True)
        self.journal = _load_or_create_journal(folder)
        _check_settings(folder.path, {**settings.identity(), "schema": schema})
        self.history = History(folder.path, self.window)
        self.repaired = repair_pointer(folder.path / PUBLISHED, self.journal["served"])
        self._vocabularies: tuple[int, Vocabularies] | None = None  # of the last ingested window
        self._clean()

    @property
    def window(self) -> int:
        """The window in progress."""
        window: int = self.journal["window"]
        return window

    def can_start(self, *, settled: bool) -> bool:
        """True if the window and the next one are available and, with ``settled``, unchanged since the last look."""
        sources = self._sources()
        growing = settled and self.source.growing(sources, self.window + 2 - len(sources))
        return self.source.available(sources) > self.window + 1 and not growing

    def finish_window(self) -> Record:
        """Runs all remaining stages of the window."""
        window = self.window
        for number in (window, window + 1):
            if str(number) not in self.journal["ingested"]:
                self._ingest(number)
        task = self._task()
        for name, stage in _STAGES.items():
            if name not in self.journal["stages"]:
                with self._timed(name) as result, self.folder.finishing(window, name) as out:
                    result.update(stage(out, task))
                    write_json(out / RESULT, result)
        if "publish" not in self.journal["stages"]:
            with self._timed("publish") as result:
                result.update(self._judge_and_publish(task))
        record = self._record()
        self.history.append(record)
        self._move_on(record)
        return record

    # Parts of finish_window.

    def _ingest(self, number: int) -> None:
        """Reads a window and extends the vocabularies; an invalid window changes nothing."""
        sources = self._sources()
        after = self._ingested(number - 1)["last_time"] if number else None
        with self._timed("ingest", number) as result:
            window = self.source.read(number, sources, after)
            held, self._vocabularies = self._vocabularies, None  # dropped if the window is invalid halfway
            if number == 0:
                vocabularies = Vocabularies.from_schema(self.source.schema)
            elif held is not None and held[0] == number - 1:
                vocabularies = held[1]
            else:
                vocabularies = Vocabularies.load(self.folder.stage(number - 1, "ingest") / VOCABULARIES)
            with self.folder.finishing(number, "ingest") as out:
                result.update(stages.ingest(out, window, vocabularies))
                write_json(out / RESULT, result)
        self._vocabularies = (number, vocabularies)

    @contextlib.contextmanager
    def _timed(self, stage: str, number: int | None = None) -> Iterator[Result]:
        """Collects and times the results of a stage, and writes them to the journal when the block ends."""
        number = self.window if number is None else number
        self.on_stage(number, stage)
        started = time.perf_counter()
        result: Result = {}
        yield result
        result["seconds"] = round(time.perf_counter() - started, 3)
        if stage == "ingest":
            self.journal["ingested"][str(number)] = result
        else:
            self.journal["stages"][stage] = result
        self.folder.write_journal(self.journal)

    def _task(self) -> Task:
        window, journal = self.window, self.journal
        files = {name: self.folder.stage(window, name) for name in ("ingest", *_STAGES)}
        accepted, groups = journal["accepted"], journal["groups"]
        return Task(
            settings=self.settings,
            num_numeric=self._ingested(window)["integers"],
            window=window,
            sizes=self._ingested(window)["sizes"],
            files={**files, "next": self.folder.stage(window + 1, "ingest")},
            before=accepted and (self.folder.stage(accepted["window"], "train"), accepted["sizes"]),
            groups=groups and (self.folder.stage(groups["window"], "compress"), groups),
            served=self._served(),
            on_batch=self.on_batch,
        )

    def _served(self) -> Path | None:
        """The model that was served when the window began, even if a killed process has published since."""
        served = self.journal["served"]
        return served and self.folder.path / PUBLISHED / served / MODEL

    def _judge_and_publish(self, task: Task) -> Result:
        done, publishing = self.journal["stages"], self.settings.publish
        metrics = done["evaluate"]["metrics"]
        verdict = judge(
            self.settings.gate,
            metrics["retrained"],
            metrics["uncompressed"],
            metrics["served"],
            self.journal["served_auc"],
            done["compress"].get("too_large", ""),
            suspect=any(record["verdict"]["decision"] == "hold" for record in self.history.records[-1:]),
        )
        found: Result = {"verdict": verdict.to_dict(), "version": None, "delta": None}
        if verdict.decision == "publish":
            meta = publish(
                self.folder.path / PUBLISHED,
                task.window,
                task.files["retrain"] / MODEL,
                {
                    "window": task.window,
                    "metrics": metrics,
                    "bits": done["retrain"]["bits"],
                    "dense_bits": done["retrain"]["dense_bits"],
                    "vectors": done["retrain"]["vectors"],
                    "sizes": dict(task.sizes),
                },
                keep=publishing.keep,
                write_delta=stages.describe_changes if publishing.delta else None,
            )
            found |= {"version": meta["version"], "delta": meta["delta"]}
        return found

    def _record(self) -> Record:
        """The record of the finished window for the history."""
        window, done = self.window, self.journal["stages"]
        own, following = self._ingested(window), self._ingested(window + 1)
        published, size = done["publish"], done["retrain"]
        delta = published["delta"]
        return {
            "window": window,
            "source": own["source"],
            "tested_on": following["source"]["name"],
            "rows": own["rows"],
            "positives": own["positives"],
            "sizes": own["sizes"],
            "new_values": own["new_values"],
            "seconds": {"ingest": own["seconds"], **{name: result["seconds"] for name, result in done.items()}},
            "loss": {"train": done["train"]["loss"], "retrain": done["retrain"]["loss"]},
            "metrics": done["evaluate"]["metrics"],
            "bits": size["bits"],
            "bytes": -(-size["bits"] // 8),
            "dense_bytes": size["dense_bits"] // 8,
            "field_bits": done["compress"]["bits"],
            "file_bytes": size["file_bytes"],
            "vectors": size["vectors"],
            "dense_vectors": size["dense_vectors"],
            "distortion": done["compress"]["distortion"],
            "reclustered": done["compress"]["reclustered"],
            "why": done["compress"]["why"],
            "resized": done["compress"]["resized"],
            "guessed": done["compress"]["guessed"],
            "moved": delta and delta["moved"],
            "changed_rows": delta and delta["changed_rows"],
            "delta_bytes": delta and delta["bytes"],
            "verdict": published["verdict"],
            "version": published["version"],
            "served": published["version"] or self.journal["served"],
        }

    def _move_on(self, record: Record) -> None:
        """Prepares the journal for the next window, and deletes files that it does not need."""
        window, journal = self.window, self.journal
        done, verdict = journal["stages"], record["verdict"]
        if not verdict["roll_back"]:
            journal["accepted"] = {"window": window, "sizes": record["sizes"]}
        if record["version"] is not None:
            reached = {"since": done["compress"]["since"], "distortion": done["compress"]["reference"]}
            journal["groups"] = {"window": window, **reached, "key": self.settings.compression_key()}
            journal["served"] = record["version"]
        elif verdict["decision"] == "refuse" and not verdict["roll_back"]:
            journal["groups"] = None  # they were not good enough
        tested = record["metrics"]["retrained" if record["version"] else "served"]
        if tested and tested["auc"] is not None:  # otherwise the last measurement is kept
            journal["served_auc"] = expected_auc(verdict["decision"], tested["auc"], journal["served_auc"])
        journal["ingested"] = {str(window + 1): journal["ingested"][str(window + 1)]}
        journal["stages"], journal["window"] = {}, window + 1
        self.folder.write_journal(journal)
        self._clean()

    def _clean(self) -> None:
        journal = self.journal
        needed = {(int(window), "ingest") for window in journal["ingested"]}
        needed |= {(self.window, stage) for stage in journal["stages"]}
        needed |= {(journal[key]["window"], name) for key, name in _REMEMBERED if journal[key]}
        self.folder.keep_only(needed)

    def _ingested(self, window: int) -> Result:
        found: Result = self.journal["ingested"][str(window)]
        return found

    def _sources(self) -> list[dict[str, Any]]:
        """Sources of all windows that were read, in order."""
        later = sorted(map(int, self.journal["ingested"]))
        return [record["source"] for record in self.history.records] + [self._ingested(own)["source"] for own in later]


def _load_or_create_journal(folder: StateFolder) -> dict[str, Any]:
    """Reads the journal of a pipeline, or creates that of a new one.

    Raises:
        CheckpointError: it is damaged, or a file is missing although later ones exist.
    """
    path, journal = folder.path, folder.journal()
    beginning = new_journal()
    if journal is None:  # a fresh start would take existing versions out of service
        if left := [name for name in (HISTORY, PUBLISHED) if (path / name).exists()]:
            raise CheckpointError(
                f"{path / JOURNAL} is missing, but {path / left[0]} is there. Restore it from a copy, run `slimtable "
                "pipeline repair`, or name another folder as `state`."
            )
        return beginning
    if not (path / SETTINGS).exists():
        raise CheckpointError(
            f"{path / SETTINGS} is missing. Restore it from a copy, or start again in another folder."
        )
    if missing := [name for name in beginning if name not in journal]:
        raise CheckpointError(
            f"{path / JOURNAL} is damaged ({missing[0]} is missing). Restore it, or run `pipeline repair`."
        )
    if journal["format"] != _FORMAT:
        raise CheckpointError(f"{path} was made by another version of slimtable. Choose another folder.")
    return journal


def _check_settings(state: Path, wanted: dict[str, Any]) -> None:
    """Records the settings of a new state folder, or checks that an existing one has the same.

    Raises:
        CheckpointError: it has other settings.
    """
    saved = read_state(state / SETTINGS)
    if saved is None:
        write_json(state / SETTINGS, wanted)
    elif saved != wanted:
        differing = ", ".join(name for name in wanted if saved.get(name) != wanted[name])
        raise CheckpointError(
            f"{state} belongs to a pipeline with other settings ({differing}). Name another folder as `state`, or "
            "delete it."
        )
