"""Who gets what, in workers: one place that knows every concrete class."""

import structlog
from dependency_injector import containers, providers

from .infrastructure.database import Database, SqlInvoices
from .infrastructure.documents import DocumentReader
from .infrastructure.extractor import HttpExtractor
from .infrastructure.files import HttpFiles
from .settings import TrackerSettings


class CrossCuttingContainer(containers.DeclarativeContainer):
    """What every part uses."""

    log = providers.Callable(structlog.get_logger, "time_tracker")


class InfrastructureContainer(containers.DeclarativeContainer):
    """Adapters to the world outside; each is made once a worker and is safe between its threads."""

    settings = providers.Dependency(instance_of=TrackerSettings)
    database = providers.Singleton(Database, settings.provided.database_url)
    files = providers.Singleton(
        HttpFiles,
        settings.provided.files_url,
        secret=settings.provided.files_secret.get_secret_value.call(),
    )
    reader = providers.Singleton(DocumentReader)
    extractor = providers.Singleton(HttpExtractor, settings.provided.extractor_url)


class DomainContainer(containers.DeclarativeContainer):
    """Repositories; their results reach the database through the infrastructure."""

    database = providers.Dependency(instance_of=Database)
    invoices = providers.Factory(SqlInvoices, database)


class AppContainer(containers.DeclarativeContainer):
    """The whole app, as a worker sees it."""

    settings = providers.Singleton(TrackerSettings)
    cross_cutting = providers.Container(CrossCuttingContainer)
    infrastructure = providers.Container(InfrastructureContainer, settings=settings)
    domain = providers.Container(DomainContainer, database=infrastructure.database)
