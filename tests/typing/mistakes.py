"""Planted mistakes, one a marked line. `test_typing.py` pins which checker finds which; nothing here is run."""

from __future__ import annotations

from app import Fields, Queues, ReadInvoice, SyncMail, TenantPayload, View, create_kit

from jobkit import (
    Exponential,
    Fixed,
    Job,
    JobHandle,
    JobResult,
    Payload,
    QueueSpec,
    Retention,
    Retry,
    Settings,
    draft,
    processor,
)

kit = create_kit()
FIELDS = Fields()

kit.enqueue(FIELDS)  # M01 no payload
kit.enqueue(ReadInvoice(invoice="inv_1", tenant_id="t"))  # M02 misspelt field
ReadInvoice(invoice_id=7, tenant_id="t")  # M02b field of the wrong type


class NoName(TenantPayload, queue=Queues.MAIL): ...  # M03 no name


class Typo(Payload, name="typo", queu="mail"): ...  # M03b misspelt class keyword


class BadVersion(Payload, name="v", queue="mail", version="2"): ...  # M03c version of the wrong type


@processor(ReadInvoice)  # M04 result of another type
def wrong_result(job: Job[ReadInvoice], view: View) -> JobResult[int]:
    return JobResult.completed(1)


@processor(ReadInvoice)  # M04b None where fields are promised
def none_result(job: Job[ReadInvoice], view: View) -> None: ...


@processor(SyncMail)  # M04c processor of another payload
def wrong_job(job: Job[ReadInvoice], view: View) -> None: ...


@processor(SyncMail)
def reaches(job: Job[SyncMail], view: View) -> None:
    view.services.billing.charge()  # M05 beyond the view
    view.infrastructure.ocrr.read(b"")  # M06 misspelt member
    view.domain.invoices.save("x")  # M06b wrong call
    view.domain = None  # M06c assignment to the view
    text: str = job.step("x", view.infrastructure.extractor.extract, "a")  # M07 async step in a def
    job.payload.tenant_id = "other"  # M07b payloads are frozen
    job.step("ocr", view.infrastructure.ocr.read, "text")  # M07c step with a wrong argument
    job.progress("half")  # M07e percent of the wrong type


@processor(ReadInvoice)
async def unawaited(job: Job[ReadInvoice], view: View) -> Fields:
    return job.step("x", view.infrastructure.extractor.extract, "a")  # M07d forgotten await


kit.enqueue(SyncMail)  # M08 the class
kit.enqueue(SyncMail(tenant_id="t"), delay="5s")  # M09 delay of the wrong type
QueueSpec("q", timeout="60")  # M09b timeout of the wrong type
Exponential("2s")  # M09c base of the wrong type
Exponential(2, 4)  # M09d a factor without its name
Retry(attempts=3, backof=Exponential(2))  # M09e misspelt option
Retry(backoff=Fixed)  # M09f the class
Retention(completed="all")  # M09g count of the wrong type
QueueSpec("q", retry=3)  # M09h number for a policy
Settings(shutdown_timeot=3)  # M09i misspelt setting


class BadQueue(TenantPayload, name="b", queue=Queues.MIAL): ...  # M10 misspelt member of the enum


class BadQueue2(TenantPayload, name="b2", queue="mial"): ...  # M10b misspelt string: told at the enqueue


amount: int = kit.enqueue(ReadInvoice(invoice_id="i", tenant_id="t")).result()  # M11 result of another type
kit.enqueue(SyncMail(tenant_id="t")).result().cents  # M11b result of a payload without one
held: JobHandle[int] = kit.enqueue(ReadInvoice(invoice_id="i", tenant_id="t"))  # M11c handle of another type
kit.handle("id", ReadInvoice).status().stat  # M11f misspelt attribute


async def misuse() -> None:
    kit.aenqueue(SyncMail(tenant_id="t"))  # M11d forgotten await
    (await kit.aenqueue(SyncMail(tenant_id="t"))).result(timeout="10")  # M11e timeout of the wrong type


JobResult.completed(1, then=[SyncMail])  # M12 the class as a follow-up
JobResult.completed(1, then=SyncMail(tenant_id="t"))  # M12b no list
JobResult.snoozed(60)  # M12c no reason
draft(SyncMail(tenant_id="t"), dely=3)  # M12d misspelt option
reaches.fn2(Job(payload=SyncMail(tenant_id="t")))  # M13 misspelt attribute of a processor
