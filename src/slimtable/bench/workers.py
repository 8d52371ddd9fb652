"""Jobs on all cores: processes of one thread each, which take job after job and are stopped with their parent."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from slimtable.bench.jobs import Job, Source, load_again, run_job
from slimtable.bench.results import Record
from slimtable.data import Split
from slimtable.data.clicks.parts import ClickParts
from slimtable.errors import SlimtableError
from slimtable.training.threads import one_thread

_FAILURE_LOG = "error.log"
_PATIENCE = 10.0  # seconds that a process gets to end by itself


@dataclass(frozen=True)
class Failure:
    """A job that ended without records.

    Attributes:
        job: the job.
        reason: why, in one line.
    """

    job: Job
    reason: str


def run_here(
    jobs: Sequence[Job], parts: Mapping[Source, Split | ClickParts]
) -> Generator[list[Record] | Failure, None, None]:
    """Runs jobs one after the other in this process; what each gives is yielded when it is finished."""
    loaded = dict(parts)
    for job in jobs:
        yield _attempt(job, loaded)


def run_parallel(jobs: Sequence[Job], workers: int) -> Generator[list[Record] | Failure, None, None]:
    """Runs jobs in ``workers`` processes, each of which loads a source once and takes one job after the other.

    Whatever ends this generator, Ctrl-C included, ends its processes first.

    Args:
        jobs: what to do.
        workers: largest number of processes.

    Yields:
        What each job gives, in the order in which they finish.

    Raises:
        SlimtableError: this is itself a starting worker, since the calling script is not guarded.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SlimtableError(
            "The script that called run_bench starts it again in every worker. Put the call below "
            "`if __name__ == '__main__':`, or pass workers=1."
        )
    waiting = list(reversed(jobs))
    running: dict[Connection, tuple[BaseProcess, Job]] = {}
    started: list[BaseProcess] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                connection, process = _start()
                started.append(process)
                running[connection] = (process, _hand_out(waiting, connection))
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                process, job = running.pop(ready)
                outcome = _receive(job, process, ready)
                if waiting and not ready.closed:  # before anything else is done, so that it need not wait
                    running[ready] = (process, _hand_out(waiting, ready))
                else:
                    ready.close()  # the end of the pipe ends the process
                yield outcome
        for process in started:
            process.join(_PATIENCE)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join(_PATIENCE)
            process.kill()
            process.join()


def _start() -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of PyTorch and numba
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    # A terminal sends Ctrl-C to all processes. Only the parent shall hear it, and a new process inherits the mask,
    # unless the tracker, which starts with the first process, lifts it before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()  # so that the end of the process is the end of the pipe
    return ours, process


def _hand_out(waiting: list[Job], connection: Connection) -> Job:
    job = waiting.pop()
    with suppress(BrokenPipeError):  # the process is gone, which receiving from it will tell
        connection.send(job)
    return job


def _receive(job: Job, process: BaseProcess, connection: Connection) -> list[Record] | Failure:
    try:
        outcome: list[Record] | Failure = connection.recv()
    except (EOFError, ConnectionResetError):
        connection.close()
        process.join()
        outcome = Failure(job, f"its process ended with exit code {process.exitcode}")
    return outcome


def _work(connection: Connection) -> None:
    """What a process does: jobs, until the pipe ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave no temporary files
    threading.Thread(target=_end_with_parent, daemon=True).start()
    loaded: dict[Source, Split | ClickParts] = {}
    with one_thread():
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            connection.send(_attempt(job, loaded))


def _end_with_parent() -> None:
    """Ends this process when the parent is gone, so that two never train in one folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGKILL)


def _attempt(job: Job, loaded: dict[Source, Split | ClickParts]) -> list[Record] | Failure:
    """Runs a job; an error becomes a failure, with its traceback in the run folder."""
    log = job.folder / _FAILURE_LOG
    try:
        if job.source not in loaded:
            loaded[job.source] = load_again(job)
        records = run_job(job, loaded[job.source])
    except Exception as error:  # whatever it is, the other runs go on
        job.folder.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
        lines = str(error).split("\n")
        return Failure(job, f"{type(error).__name__}: {lines[0]} (see {log})")
    log.unlink(missing_ok=True)
    return records
