"""`jobkit demo`: a batch of invoices through the whole app, on real parts, with a live view and a table at the end."""

from __future__ import annotations

import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from rich.console import Console

from jobkit import Exponential, JobHandle, JobKit, JobState, Retry, Settings

from .api import Api
from .board import Board, QueueLine
from .infrastructure.documents import TESSERACT_MISSING, tesseract_installed
from .jobs import create_kit
from .outside import ExtractionService, Faults
from .payloads import InvoiceFields
from .report import Cost, Outcome, print_report
from .screen import screen_for
from .specimens import Specimen, batch
from .worker_process import WorkerProcess
from .world import World

WORKERS = 2
JOBS_AT_A_TIME = 2
"""In each worker; reading a scan keeps one processor busy."""

IMPATIENT = Retry(attempts=4, backoff=Exponential(1, factor=2, jitter=0.1))
"""The app waits 2, 8, 32 s; whoever watches a demo need not."""

BAD_MOMENTS = (200, 200, 500, 200, 429, 200, 200, 500)
"""What the extraction service answers first, so that retries are seen; then it is well."""

THINKING = 0.4
"""Seconds the extraction service takes for an answer."""

REDRAW = 0.1
"""Seconds between two looks at the jobs."""

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended."""


class WorkersGone(RuntimeError):
    """All workers have ended before the jobs did."""


def run_demo(console: Console, *, invoices: int = 12, redis_url: str | None = None) -> int:
    """Show the app at work, and return the exit code: 0 when every invoice ended as it should.

    Everything (server, database, files, logs) is in a folder that is gone afterwards; JOBKIT_REDIS_URL is not touched,
    since that may be a server where work is done. `redis_url` names a server to use instead. Ctrl-C ends it cleanly.
    """
    try:
        with _signals_as_interrupt(), tempfile.TemporaryDirectory(prefix="jk-demo-") as folder:
            return _run(console, Path(folder), invoices, redis_url or f"embedded://{folder}/redis")
    except KeyboardInterrupt:
        console.print("Stopped; the workers have ended.")
        return INTERRUPTED


def _run(console: Console, folder: Path, invoices: int, redis_url: str) -> int:
    settings = Settings(redis_url=redis_url, environment="local")
    service = ExtractionService(faults=Faults(BAD_MOMENTS), think=THINKING, retry_after=1.0)
    with ExitStack() as stack:
        specimens = _specimens(console, invoices)
        world = stack.enter_context(World(folder, extraction=service))
        world.hand_in(specimens)
        kit = create_kit(settings, retry=IMPATIENT)
        stack.callback(kit.close)
        _introduce(console, kit, len(specimens))
        api = Api(kit)
        handles = {each.invoice_id: api.process_invoice(each.invoice_id, each.tenant_id) for each in specimens}
        began = time.monotonic()
        workers = _start_workers(stack, folder, world, settings)
        _watch(console, kit, handles, workers)
        took = time.monotonic() - began
        outcomes = [_outcome(kit, world, each, handles[each.invoice_id].id) for each in specimens]
    print_report(console, outcomes)
    return _conclude(console, outcomes, took)


def _specimens(console: Console, count: int) -> list[Specimen]:
    scans = tesseract_installed()
    if not scans:
        console.print(f"{TESSERACT_MISSING}.", style="yellow", markup=False, highlight=False, soft_wrap=True)
        console.print("Going on with PDFs, whose text needs no reading.\n")
    return batch(count, series=f"inv_{secrets.token_hex(2)}", scans=scans)


def _introduce(console: Console, kit: JobKit, count: int) -> None:
    url = _without_password(kit.redis_url)
    for line in (
        f"{count} invoices, {WORKERS} worker processes, Redis at {url}",
        f"RQ's own tool sees the same: rq info --url '{url}'\n",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _without_password(url: str) -> str:
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url


def _start_workers(stack: ExitStack, folder: Path, world: World, settings: Settings) -> list[WorkerProcess]:
    environment = {
        **world.environment,
        "TMPDIR": str(folder),
        "JOBKIT_REDIS_URL": settings.redis_url,
        "JOBKIT_ENVIRONMENT": settings.environment,
        "JOBKIT_QUEUES__INVOICE_PROCESSING__CONCURRENCY": str(JOBS_AT_A_TIME),
    }
    workers = [WorkerProcess(folder / f"worker-{n}.log", environment) for n in range(1, WORKERS + 1)]
    for worker in workers:
        stack.enter_context(worker)
    for worker in workers:
        # Left last-in, first-out: all hear it before the first is waited for.
        stack.callback(worker.ask_to_stop)
    return workers


def _watch(
    console: Console, kit: JobKit, handles: Mapping[str, JobHandle[InvoiceFields]], workers: Sequence[WorkerProcess]
) -> None:
    pause = threading.Event()
    results: dict[str, InvoiceFields] = {}
    with screen_for(console) as screen:
        while True:
            board = _look(kit, handles, results)
            screen.show(board)
            if board.finished:
                return
            if all(worker.exit_code is not None for worker in workers):
                raise WorkersGone(f"the workers have ended; the last one said:\n{workers[-1].log.read_text()[-2000:]}")
            pause.wait(REDRAW)


def _look(kit: JobKit, handles: Mapping[str, JobHandle[InvoiceFields]], results: dict[str, InvoiceFields]) -> Board:
    """Read the queues and the jobs; results, which do not change any more, are read once into `results`."""
    jobs = {invoice_id: handle.status() for invoice_id, handle in handles.items()}
    for invoice_id, job in jobs.items():
        if job.state is JobState.FINISHED and invoice_id not in results:
            results[invoice_id] = handles[invoice_id].result()
    queues = [
        QueueLine(
            name=each.name,
            waiting=each.queued + each.scheduled + each.deferred,
            running=each.started,
            done=each.finished,
            failed=each.failed,
        )
        for each in kit.jobs.counts()
    ]
    return Board(queues=queues, jobs=jobs, results=results)


def _outcome(kit: JobKit, world: World, specimen: Specimen, job_id: str) -> Outcome:
    job = kit.jobs.get(job_id)
    return Outcome(
        specimen=specimen,
        invoice=world.invoices.get(specimen.invoice_id),
        cost=Cost(seconds=sum(each.seconds or 0.0 for each in job.attempts), attempts=job.status.attempt),
    )


def _conclude(console: Console, outcomes: Sequence[Outcome], took: float) -> int:
    right = sum(each.as_expected for each in outcomes)
    attempts = sum(each.cost.attempts for each in outcomes)
    worked = sum(each.cost.seconds for each in outcomes)
    console.print(
        f"\n{right} of {len(outcomes)} invoices ended as they should (the last has no total and must end in error).\n"
        f"{attempts} attempts, {worked:.1f} s of work in {took:.1f} s.",
        highlight=False,
        soft_wrap=True,
    )
    return 0 if right == len(outcomes) else 1


@contextmanager
def _signals_as_interrupt() -> Generator[None]:
    """Take SIGTERM and a closed terminal for Ctrl-C, so that the workers and the server are stopped too."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it hears signals
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
