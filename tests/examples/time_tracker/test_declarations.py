"""What the app declares: queues, payloads, policies. No server is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import time_tracker
from pydantic import ValidationError
from time_tracker.jobs import BACK_OFF, create_kit
from time_tracker.payloads import DeliverWebhook, ProcessInvoice, Queues, RunAutomation, SyncMail, TenantPayload

from jobkit import DeclarationError, Settings, kind

PACKAGE = Path(time_tracker.__file__).parent
HOOK = {"tenant_id": "t", "webhook_id": "w", "webhook_delivery_id": "d", "event": "entry.approved", "url": "http://x/"}
HEAVY = {"sqlalchemy", "pytesseract", "pypdfium2", "PIL", "httpx", "dependency_injector"}


def strings_in(path: Path) -> set[str]:
    """Give every string constant of a module."""
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def modules_after(statement: str) -> set[str]:
    """Give the modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    path = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    ran = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_queue_names_are_written_once() -> None:
    """TT-2: queue names are constants of one enum, and no other module of the app spells one out."""
    names = {queue.value for queue in Queues}
    spelt = {path.name for path in PACKAGE.rglob("*.py") if strings_in(path) & names}
    assert spelt == {"payloads.py"}


def test_there_are_four_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """TT-3: the kit has the queues invoice-processing, email-sync, automation and webhook-delivery."""
    monkeypatch.delenv("JOBKIT_REDIS_URL", raising=False)
    kit = create_kit(Settings(redis_url="redis://localhost:1", environment="test"))
    assert set(kit.queues.names) == {"invoice-processing", "email-sync", "automation", "webhook-delivery"}


def test_an_invoice_job_carries_invoice_and_tenant() -> None:
    """TT-4: the invoice payload is invoice_id and tenant_id, and it goes to invoice-processing."""
    assert set(ProcessInvoice(invoice_id="inv_1", tenant_id="t_1").model_dump()) == {"invoice_id", "tenant_id"}
    assert kind(ProcessInvoice).queue == Queues.INVOICE_PROCESSING


def test_a_mail_job_carries_the_tenant() -> None:
    """TT-5: the email sync payload is tenant_id, and it goes to email-sync."""
    assert set(SyncMail(tenant_id="t_1").model_dump()) == {"tenant_id"}
    assert kind(SyncMail).queue == Queues.EMAIL_SYNC


def test_an_automation_job_carries_tenant_and_user() -> None:
    """TT-6: the automation payload is tenant_id and tenant_user_id, and it goes to automation."""
    assert set(RunAutomation(tenant_id="t_1", tenant_user_id="u_1").model_dump()) == {"tenant_id", "tenant_user_id"}
    assert kind(RunAutomation).queue == Queues.AUTOMATION


def test_a_webhook_job_carries_what_a_delivery_needs() -> None:
    """TT-7: the webhook payload holds ids, event, url, a nullable secret reference and a free-form payload."""
    hook = DeliverWebhook.model_validate({**HOOK, "payload": {"entry": {"hours": 7.5, "tags": ["a", None]}}})
    assert set(hook.model_dump()) == {*HOOK, "secret_ref", "payload"}
    assert (hook.secret_ref, kind(DeliverWebhook).queue) == (None, Queues.WEBHOOK_DELIVERY)
    referring = DeliverWebhook.model_validate({**HOOK, "secret_ref": "vault:w"})
    assert referring.model_dump()["secret_ref"] == "vault:w"  # noqa: S105 - a reference, no secret
    assert hook.model_dump()["payload"] == {"entry": {"hours": 7.5, "tags": ["a", None]}}


@pytest.mark.parametrize("missing", sorted(HOOK))
def test_a_webhook_job_needs_each_of_its_ids(missing: str) -> None:
    """A delivery without one of its required fields is refused, naming the field."""
    with pytest.raises(ValidationError, match=missing):
        DeliverWebhook.model_validate({name: value for name, value in HOOK.items() if name != missing})


def test_a_payload_without_a_tenant_is_refused() -> None:
    """No job of the app can be made without its tenant."""
    with pytest.raises(ValidationError, match="tenant_id"):
        ProcessInvoice(invoice_id="inv_1")  # type: ignore[call-arg]


def test_the_payloads_base_is_no_job() -> None:
    """What payloads share is abstract: it has no queue."""
    with pytest.raises(DeclarationError, match="abstract"):
        kind(TenantPayload)


def test_retries_back_off_exponentially_by_policy() -> None:
    """The app waits 2, 8 and 32 seconds, give or take a tenth."""
    assert BACK_OFF.delays() == [2.0, 8.0, 32.0]


def test_payloads_cost_the_api_next_to_nothing() -> None:
    """What API and workers share loads no Redis client, no event loop and none of the worker's drivers."""
    loaded = modules_after("import time_tracker.payloads")
    assert not loaded & (HEAVY | {"redis", "rq", "asyncio", "structlog", "pydantic_settings"})


def test_processors_cannot_reach_the_database() -> None:
    """Processors see ports: importing them loads no database, no HTTP client and no OCR."""
    assert not modules_after("import time_tracker.processors") & (HEAVY | {"redis", "rq"})


def test_importing_the_composition_opens_nothing() -> None:
    """The module with create_kit reads no environment and loads neither processors nor container."""
    loaded = modules_after("import time_tracker.jobs")
    assert not loaded & {"time_tracker.processors", "time_tracker.container", "sqlalchemy", "pytesseract"}
