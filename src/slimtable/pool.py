"""A process pool with one compute thread per process; the processes end with their parent.

Each process has its own executor, so that a process that dies fails only its own job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from slimtable.errors import SlimtableError

_PATIENCE = 10.0  # seconds that a process gets to end by itself

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True)
class Failure(Generic[J]):
    """A job that ended without a result.

    Attributes:
        job: the job.
        reason: the error, in one line.
    """

    job: J
    reason: str


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits numba and PyTorch, if they are imported, to one thread: results do not depend on the machine's cores."""
    with ExitStack() as undo:
        for name in ("numba", "torch"):
            library: Any = sys.modules.get(name)
            if library is not None:
                undo.callback(library.set_num_threads, library.get_num_threads())
                library.set_num_threads(1)
        yield


def run_here(jobs: Sequence[J], work: Callable[[J], R]) -> Generator[R | Failure[J], None, None]:
    """Does jobs one after another in this process, and yields the result of each when it is finished."""
    for job in jobs:
        with one_thread():
            try:
                outcome: R | Failure[J] = work(job)
            except Exception as error:  # whatever it is, the other jobs go on
                outcome = Failure(job, reason_of(error))
        yield outcome


def run_parallel(jobs: Sequence[J], work: Callable[[J], R], workers: int) -> Generator[R | Failure[J], None, None]:
    """Does jobs in up to ``workers`` processes.

    When the generator ends for any reason, including Ctrl-C, its processes are ended first.

    Args:
        jobs: the jobs.
        work: function that does a job; importable in other processes.
        workers: maximum number of processes.

    Yields:
        The result of each job, in the order in which they finish; a failure if it raised an error or its process died.

    Raises:
        SlimtableError: called while a worker process starts, because the calling script has no main guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SlimtableError(
            "Every worker process imports the script that started it, and would start workers again. Put the call "
            "below `if __name__ == '__main__':`, or pass workers=1."
        )
    waiting = list(reversed(jobs))
    idle: list[_Worker] = []
    running: dict[Future[R], tuple[_Worker, J]] = {}

    def hand_out() -> None:
        while waiting and len(running) < workers:
            worker, job = idle.pop() if idle else _Worker(), waiting.pop()
            running[worker.submit(work, job)] = worker, job

    try:
        hand_out()
        while running:
            outcomes: list[R | Failure[J]] = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, job = running.pop(future)
                outcomes.append(worker.outcome(future, job))
                if not worker.ended:
                    idle.append(worker)
            hand_out()  # before anything else is done, so that no process waits
            yield from outcomes
    finally:
        for worker, _ in running.values():
            worker.stop()
        for worker in [*idle, *(worker for worker, _ in running.values())]:
            worker.end()


def run_limited(job: J, work: Callable[[J], R], seconds: float) -> R | Failure[J] | None:
    """Does a job in a separate process; returns None if it took longer than ``seconds`` and was stopped."""
    worker = _Worker()
    future = worker.submit(work, job)
    try:
        return worker.outcome(future, job) if wait([future], seconds).done else None
    finally:
        worker.stop(patience=0.0)
        worker.end()


def reason_of(error: BaseException) -> str:
    """The class and the first line of an error."""
    return f"{type(error).__name__}: {error}".split("\n")[0]


class _Worker:
    """A process that does one job at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads of PyTorch and numba
        self._executor = ProcessPoolExecutor(1, context, initializer=_begin)
        self._process: BaseProcess | None = None
        self.ended = False

    def submit(self, work: Callable[[J], R], job: J) -> Future[R]:
        """Submits a job; the first one starts the process."""
        if self._process is not None:
            return self._executor.submit(_obey, work, job)
        before = set(multiprocessing.active_children())
        # A terminal sends Ctrl-C to all processes. Only the parent shall hear it, and a new process inherits the mask,
        # unless the tracker, which starts with the first process, lifts it before.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            future = self._executor.submit(_obey, work, job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        (self._process,) = set(multiprocessing.active_children()) - before
        return future

    def outcome(self, future: Future[Any], job: J) -> Any | Failure[J]:
        """The result of a finished job, or a failure; sets ``ended`` if the process died."""
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BrokenProcessPool):
            return Failure(job, f"its process ended with exit code {self.end()}")
        return Failure(job, reason_of(error))

    def stop(self, patience: float = _PATIENCE) -> None:
        """Terminates the process, and kills it if it does not end in time."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(patience)
            self._process.kill()

    def end(self) -> int | None:
        """Shuts the idle process down, and returns its exit code."""
        self.ended = True
        self._executor.shutdown()
        return None if self._process is None else self._process.exitcode


def _begin() -> None:
    """Initializer of a worker process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave no temporary files
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _obey(work: Callable[[J], R], job: J) -> R:
    try:
        with one_thread():
            return work(job)
    except SystemExit:  # the executor would return it as a result and wait for the next job
        os._exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    """Ends this process when its parent ends, so that two processes never train in one folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGKILL)
