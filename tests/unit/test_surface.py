import importlib
import inspect
import subprocess
import sys

import pytest

import jobkit

PUBLIC = [
    "ConfigurationError",
    "ContainerView",
    "DeclarationError",
    "Dedupe",
    "Draft",
    "Exponential",
    "Fixed",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobKit",
    "JobNotFound",
    "JobResult",
    "JobState",
    "JobStatus",
    "JobkitError",
    "LockLost",
    "LockTimeout",
    "MaxRunning",
    "NotSerialisable",
    "Pause",
    "Payload",
    "PayloadTooLarge",
    "Priority",
    "Processor",
    "Progress",
    "QueueSpec",
    "RateLimit",
    "ResultTimeout",
    "Retention",
    "Retry",
    "ServicesRefused",
    "Settings",
    "StoreFull",
    "StoreUnavailable",
    "UnknownJobName",
    "UnknownQueue",
    "Unrecoverable",
    "WrongPayload",
    "draft",
    "in_thread",
    "kind",
    "processor",
    "retry_after",
]

HEAVY = {"asyncio", "redis", "rq", "dependency_injector", "pydantic_settings", "structlog", "httpx", "click", "rich"}


def loaded_by(code: str) -> set[str]:
    """The modules that a new process has loaded after the code."""
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


def test_public_names_are_pinned() -> None:
    """A name enters or leaves the public surface on purpose only."""
    assert sorted(jobkit.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(jobkit))
    namespace = {}
    exec("from jobkit import *", namespace)  # noqa: S102 - what a user's session does
    assert set(PUBLIC) <= namespace.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_documented(name: str) -> None:
    """It resolves, is the object of its home module, and has a docstring."""
    value = getattr(jobkit, name)
    assert inspect.getdoc(value)
    assert value is getattr(importlib.import_module(value.__module__), name)


def test_a_misspelt_public_name_is_told() -> None:
    """The nearest name is suggested."""
    with pytest.raises(AttributeError, match=r"jobkit has no public name 'Paylod'; did you mean 'Payload'\?"):
        _ = jobkit.Paylod


@pytest.mark.parametrize(
    "code",
    [
        "import jobkit",
        "from jobkit import Payload\nclass A(Payload, name='a', queue='q'):\n    x: int\nA(x=1)",
        "from jobkit import Job, JobResult, QueueSpec, Retry, Exponential, draft, kind, JobState, WrongPayload",
        "from jobkit import ContainerView, processor",
        "import jobkit.types",
    ],
)
def test_declaring_costs_pydantic_and_attrs_only(code: str) -> None:
    """What payload and processor modules import loads no event loop, no Redis client, no settings."""
    loaded = loaded_by(code)
    assert {each.partition(".")[0] for each in loaded} & HEAVY == set()


def test_import_jobkit_alone_loads_nothing() -> None:
    """The package itself is one module."""
    assert {each for each in loaded_by("import jobkit") if each.startswith("jobkit")} == {"jobkit"}
