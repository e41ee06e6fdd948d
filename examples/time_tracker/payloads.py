"""What jobs carry and where they wait. The API and the workers share this module; it loads pydantic and attrs only."""

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from typing import Generic

from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypeVar

from jobkit import Payload

R_co = TypeVar("R_co", covariant=True, default=None)


class Queues(StrEnum):
    """Every queue of the app."""

    INVOICE_PROCESSING = "invoice-processing"
    EMAIL_SYNC = "email-sync"
    AUTOMATION = "automation"
    WEBHOOK_DELIVERY = "webhook-delivery"


class InvoiceFields(BaseModel, frozen=True):
    """What an invoice says: the amount due (in its currency's main unit), its date and its number."""

    amount: Decimal
    date: dt.date
    number: str


class TenantPayload(Payload[R_co], Generic[R_co], abstract=True):
    """The base of every payload: a job belongs to a tenant."""

    tenant_id: str

    def tags(self) -> dict[str, str]:
        """Return the tags that each job of this payload carries: into its record, the logs and the filters."""
        return {"tenant": self.tenant_id}


class ProcessInvoice(TenantPayload[InvoiceFields], name="invoice.process", queue=Queues.INVOICE_PROCESSING):
    """Read a tenant's invoice and put what it says on its record."""

    invoice_id: str


class SyncMail(TenantPayload, name="email.sync", queue=Queues.EMAIL_SYNC):
    """Fetch a tenant's new mail."""


class RunAutomation(TenantPayload, name="automation.run", queue=Queues.AUTOMATION):
    """Run what a user of a tenant has automated."""

    tenant_user_id: str


class DeliverWebhook(TenantPayload, name="webhook.deliver", queue=Queues.WEBHOOK_DELIVERY):
    """Tell a subscriber's URL about an event. The secret is carried as a reference, never as itself."""

    webhook_id: str
    webhook_delivery_id: str
    event: str
    url: str
    secret_ref: str | None = None
    payload: dict[str, JsonValue] = Field(default_factory=dict)
