"""A small application as a user would type it. Type checkers find nothing here; `test_typing.py` holds that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol, TypeAlias, assert_type

from pydantic import AwareDatetime, BaseModel
from typing_extensions import TypeVar

from jobkit import (
    ContainerView,
    Dedupe,
    Draft,
    Exponential,
    Fixed,
    Job,
    JobHandle,
    JobKit,
    JobResult,
    JobState,
    Payload,
    Progress,
    QueueSpec,
    Retention,
    Retry,
    Settings,
    Unrecoverable,
    draft,
    in_thread,
    kind,
    processor,
)

R = TypeVar("R", covariant=True, default=None)


class Queues(StrEnum):
    INVOICES = "invoices"
    MAIL = "mail"


class Fields(BaseModel, frozen=True):
    number: str = ""
    cents: int = 0


class TenantPayload(Payload[R], Generic[R], abstract=True):
    tenant_id: str


class ReadInvoice(
    TenantPayload[Fields], name="invoice.read", queue=Queues.INVOICES, version=2, aliases=["invoice.ocr"]
):
    invoice_id: str
    received_at: AwareDatetime | None = None


class SyncMail(TenantPayload, name="mail.sync", queue=Queues.MAIL, mutex="mail:{tenant_id}"): ...


class CountPages(Payload[int], name="pages.count", queue=Queues.INVOICES):
    urls: list[str]


class Ocr(Protocol):
    def read(self, image: bytes) -> str: ...


class Extractor(Protocol):
    async def extract(self, text: str) -> Fields: ...


class Invoices(Protocol):
    def save(self, invoice_id: str, fields: Fields) -> None: ...


class Domain(Protocol):
    @property
    def invoices(self) -> Invoices: ...


class Infrastructure(Protocol):
    @property
    def ocr(self) -> Ocr: ...
    @property
    def extractor(self) -> Extractor: ...


View: TypeAlias = ContainerView[Domain, Infrastructure, None]


@processor(ReadInvoice)
async def read_invoice(job: Job[ReadInvoice], view: View) -> JobResult[Fields]:
    text = await job.step("ocr", in_thread(view.infrastructure.ocr.read), b"image")
    assert_type(text, str)
    fields = await job.step("extract", view.infrastructure.extractor.extract, text)
    assert_type(fields, Fields)
    job.progress(80, "extracted")
    if not fields.number:
        return JobResult.snoozed(60, "the extraction service is catching up")
    if fields.cents < 0:
        raise Unrecoverable("a negative invoice")
    view.domain.invoices.save(job.payload.invoice_id, fields)
    mail = SyncMail(tenant_id=job.payload.tenant_id)
    return JobResult.completed(fields, then=[mail, draft(mail, delay=timedelta(minutes=1), tags={"tenant": "t"})])


@processor(SyncMail)
def sync_mail(job: Job[SyncMail], view: View) -> JobResult[None]:
    text = job.step("ocr", view.infrastructure.ocr.read, b"image")
    assert_type(text, str)
    if job.attempt > 1:
        return JobResult.cancelled("the subscriber is gone")
    return JobResult.completed()


@processor(CountPages)
def count_pages(job: Job[CountPages]) -> int:
    return len(job.payload.urls)


class Adapters:
    class _Ocr:
        def read(self, image: bytes) -> str:
            return image.decode()

    class _Extractor:
        async def extract(self, text: str) -> Fields:
            return Fields(number=text)

    class _Invoices:
        def save(self, invoice_id: str, fields: Fields) -> None: ...

    invoices = _Invoices()
    ocr = _Ocr()
    extractor = _Extractor()


def for_tests() -> View:
    return ContainerView(domain=Adapters(), infrastructure=Adapters(), cross_cutting=None)


@asynccontextmanager
async def opened() -> AsyncGenerator[View]:
    yield for_tests()


def create_kit(settings: Settings | None = None) -> JobKit:
    steady = Retry(attempts=4, backoff=Exponential(2, factor=4, cap=1800, jitter=0.1))
    return JobKit(
        settings,
        queues=[
            QueueSpec(Queues.INVOICES, concurrency=4, timeout=60, retry=steady, retention=Retention(completed=100)),
            QueueSpec(Queues.MAIL, timeout=timedelta(minutes=10), retry=Retry(attempts=2, backoff=Fixed(10))),
            QueueSpec("slow", retry=Retry(backoff=lambda failed: timedelta(seconds=failed))),
        ],
        processors=[read_invoice, sync_mail, count_pages],
        container=opened,
    )


async def use(kit: JobKit) -> None:
    handle = kit.enqueue(ReadInvoice(tenant_id="t", invoice_id="i"), delay=5, tags={"tenant": "t"})
    assert_type(handle, JobHandle[Fields])
    assert_type(handle.result(timeout=10).cents, int)
    assert_type(handle.status().state, JobState)
    assert_type(handle.status().progress, Progress | None)
    assert_type(await (await kit.aenqueue(CountPages(urls=[]), at=datetime.now(UTC))).aresult(), int)
    assert_type(kit.enqueue(SyncMail(tenant_id="t")), JobHandle[None])
    assert_type(kit.enqueue(SyncMail(tenant_id="t"), dedupe=Dedupe("mail:{tenant_id}")), JobHandle[None])
    quiet = draft(SyncMail(tenant_id="t"), dedupe=Dedupe("mail", mode="debounce", within=5))
    assert_type(quiet, Draft[None])
    assert_type(kit.run(CountPages(urls=["a"])).value, int)
    assert_type(kit.handle("job-1", ReadInvoice).result(), Fields)
    line: Draft[Fields] = draft(ReadInvoice(tenant_id="t", invoice_id="i"), job_id="invoice-i")
    kit.enqueue_many([line, line])
    assert_type(Draft.from_json(line.to_json(), ReadInvoice), Draft[Fields])
    assert_type(kind(ReadInvoice).version, int)
    sync_mail.fn(Job(payload=SyncMail(tenant_id="t")), for_tests())
