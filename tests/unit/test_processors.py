import importlib.metadata
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobkit.errors import DeclarationError, UnknownJobName
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processors import ProcessorRegistry, load_processors, processor


class Read(Payload, name="invoice.read", queue="invoices", aliases=["invoice.ocr"]): ...


class Note(Payload, name="note", queue="mail"): ...


@processor(Read)
def read(job: Job[Read]) -> None:
    """The processor of Read."""


@processor(Note)
def note(job: Job[Note]) -> None:
    """The processor of Note."""


@processor(Read)
def another_read(job: Job[Read]) -> None:
    """A second processor of Read."""


def load(entries: Any, *points: Any) -> Any:
    """The registry of the entries and the given entry points."""
    return load_processors(entries, entry_points=points)


def module(name: str = "acme_module", **held: Any) -> types.ModuleType:
    """A module that holds the given names."""
    made = types.ModuleType(name)
    vars(made).update(held)
    return made


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A folder on the import path, and a function that writes a module into it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


HEAD = """
from jobkit.jobs import Job
from jobkit.payloads import Payload
from jobkit.processors import processor
"""


@pytest.mark.parametrize(
    "entries",
    [
        [read, note],
        (each for each in (read, note)),
        module(read=read, note=note, other=3),
        [module(read=read), note],
        [[read], [note], note],
    ],
)
def test_values_modules_and_lists(entries: Any) -> None:
    """Processors come as values, modules, lists of these, and the same one twice counts once."""
    registry = load(entries)
    assert registry.names() == ("invoice.read", "note")
    assert registry.queues() == {"invoices", "mail"}
    assert registry.processors() == (read, note)
    assert registry.find("invoice.ocr") is registry.find("invoice.read") is read
    assert "note" in registry
    assert len(registry) == 2


def test_a_module_by_its_path(files: Callable[[str, str], None]) -> None:
    """A string is a module's path, imported when the registry is made."""
    files(
        "acme_jobs",
        HEAD
        + """
class Ping(Payload, name="ping", queue="q"): ...

@processor(Ping)
def ping(job: Job[Ping]) -> None: ...
""",
    )
    assert "acme_jobs" not in sys.modules
    assert load("acme_jobs").names() == ("ping",)


def test_none_is_no_processors() -> None:
    """A client's kit has none."""
    assert load(None).names() == ()


def test_a_module_that_does_not_import_is_told(files: Callable[[str, str], None]) -> None:
    """The error names the module and keeps the cause, whatever it is."""
    files("acme_broken", "import acme_missing")
    files("acme_syntax", "def")
    with pytest.raises(DeclarationError, match="module 'acme_broken' does not import: ModuleNotFoundError") as caught:
        load("acme_broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(DeclarationError, match="module 'acme_syntax' does not import: SyntaxError"):
        load(["acme_syntax"])
    with pytest.raises(DeclarationError, match="module 'acme_nowhere' does not import"):
        load("acme_nowhere")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (module("acme_empty"), "module acme_empty holds no processor"),
        (3, "expected a module's path, a module, a Processor or a list of these, got 3"),
        ([read.fn], r"did you forget @processor\(\.\.\.\)"),
        ([Read], "expected a module's path"),
        (b"acme", "expected a module's path"),
    ],
)
def test_what_holds_no_processor_is_told(entries: Any, message: str) -> None:
    """An empty module, a bare function or anything else is refused."""
    with pytest.raises(DeclarationError, match=message):
        load(entries)


def test_two_processors_for_one_name_are_refused() -> None:
    """By name or by alias, and the message names both functions and where they came from."""

    class Ocr(Payload, name="invoice.ocr", queue="q"): ...

    @processor(Ocr)
    def ocr(job: Job[Ocr]) -> None: ...

    with pytest.raises(DeclarationError, match=r"two processors for 'invoice\.read': .*\.read .*\.another_read "):
        load([read, another_read])
    with pytest.raises(DeclarationError, match=r"two processors for 'invoice\.ocr'"):
        load([module(read=read), ocr])


def test_a_processor_that_does_not_fit_its_payload_is_told() -> None:
    """Annotations are checked when the registry is made."""

    @processor(Note)
    def wrong(job: Job[Read]) -> None: ...

    with pytest.raises(DeclarationError, match=r"takes a Job\[Read\]"):
        load(wrong)


def test_an_unknown_name_suggests_the_nearest() -> None:
    """Whoever asks for a name that is none is told the nearest one."""
    with pytest.raises(UnknownJobName, match=r"no processor for jobs named 'invoice\.raed'; did you mean"):
        load([read, note]).find("invoice.raed")
    with pytest.raises(UnknownJobName, match=r"no processor for jobs named 'x'$"):
        ProcessorRegistry().find("x")


ACME = types.SimpleNamespace(name="acme-jobs", version="1.2")


class Point:
    """An entry point of a distribution, as importlib.metadata gives it."""

    group = "jobkit.processors"

    def __init__(self, name: str, loaded: Any, dist: Any = ACME) -> None:
        self.name, self.value, self.dist, self._loaded = name, f"acme:{name}", dist, loaded

    def load(self) -> Any:
        if isinstance(self._loaded, BaseException):
            raise self._loaded
        return self._loaded


@pytest.mark.parametrize("loaded", [read, [read], module(read=read)])
def test_entry_points(loaded: Any) -> None:
    """An entry point gives a processor, a list or a module."""
    registry = load([note], Point("read", loaded))
    assert registry.names() == ("invoice.read", "note")
    assert registry.broken == ()


def test_a_broken_entry_point_names_its_distribution_and_leaves_the_others() -> None:
    """What one distribution does wrong is kept for whoever asks; the others' processors work."""
    points = [
        Point("a", ImportError("no module named acme")),
        Point("b", 3),
        Point("c", module("acme_empty"), dist=None),
        Point("d", read),
    ]
    registry = load([note], *points)
    assert registry.names() == ("invoice.read", "note")
    assert [each.name for each in registry.broken] == ["a", "b", "c"]
    assert registry.broken[0].distribution == "acme-jobs 1.2"
    assert str(registry.broken[0]) == "acme-jobs 1.2: entry point a = acme:a: ImportError: no module named acme"
    with pytest.raises(UnknownJobName, match=r"no processor for jobs named 'x'; acme-jobs 1\.2: entry point a"):
        registry.find("x")


def test_an_entry_point_may_not_take_an_applications_name() -> None:
    """Two processors for one name refuse to start, and the message names the distribution."""
    with pytest.raises(DeclarationError, match=r"two processors for .*\(from acme-jobs 1\.2\)"):
        load([read], Point("read", another_read))


def test_a_real_distribution_is_found(files: Callable[[str, str], None], tmp_path: Path) -> None:
    """The group of the installed distributions is read, and can be switched off."""
    files("acme_plugin", HEAD + "\nclass Ping(Payload, name='acme.ping', queue='q'): ...\n")
    with (tmp_path / "acme_plugin.py").open("a") as module_file:
        module_file.write("\n@processor(Ping)\ndef ping(job: Job[Ping]) -> None: ...\n")
    info = tmp_path / "acme_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jobkit.processors]\nping = acme_plugin:ping\nlost = acme_plugin:lost\n")
    importlib.invalidate_caches()
    registry = load_processors(None)
    assert "acme.ping" in registry
    assert [str(each) for each in registry.broken if each.name == "lost"] == [
        (
            "acme-plugin 1.0: entry point lost = acme_plugin:lost: "
            "AttributeError: module 'acme_plugin' has no attribute 'lost'"
        ),
    ]
    assert "acme.ping" not in load_processors(None, entry_points=False)
