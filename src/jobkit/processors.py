"""ProcessorRegistry: the processors of a worker by name, loaded from modules, values and entry points."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from types import ModuleType
from typing import Any, TypeAlias, cast

import attrs

from jobkit.errors import DeclarationError, UnknownJobName, did_you_mean
from jobkit.payloads import kind
from jobkit.processing import Processor, load_result, processor

__all__ = [
    "GROUP",
    "BrokenEntryPoint",
    "Processor",
    "ProcessorRegistry",
    "load_processors",
    "load_result",
    "processor",
]

GROUP = "jobkit.processors"
"""The entry-point group in which distributions offer processors."""

AnyProcessor: TypeAlias = Processor[Any, ..., Any]
Entry: TypeAlias = str | ModuleType | AnyProcessor
Entries: TypeAlias = Entry | Iterable["Entry | Iterable[AnyProcessor]"] | None


@attrs.frozen
class BrokenEntryPoint:
    """An entry point that gave no processors. The others work; whoever needs its jobs finds the reason here.

    Attributes:
        name: of the entry point.
        value: what it points to.
        distribution: the distribution that ships it, with its version.
        error: what happened.

    """

    name: str
    value: str
    distribution: str
    error: str

    def __str__(self) -> str:
        return f"{self.distribution}: entry point {self.name} = {self.value}: {self.error}"


class ProcessorRegistry:
    """The processors by name and alias.

    Args:
        processors: pairs of a processor and where it came from, for messages.
        broken: entry points that could not be loaded.

    Raises:
        DeclarationError: two processors carry one name, or one does not fit its payload.

    """

    def __init__(
        self,
        processors: Iterable[tuple[AnyProcessor, str]] = (),
        broken: Iterable[BrokenEntryPoint] = (),
    ) -> None:
        self._by_name: dict[str, AnyProcessor] = {}
        self.broken = tuple(broken)
        origins: dict[str, str] = {}
        for each, origin in processors:
            for name in each.names:
                other = self._by_name.setdefault(name, each)
                if other is not each:
                    raise DeclarationError(
                        f"two processors for {name!r}: {other.where} (from {origins[name]}) and {each.where} "
                        f"(from {origin}); take one away, or rename a payload",
                    )
                origins[name] = origin
            each.check()

    def find(self, name: str) -> AnyProcessor:
        """The processor of jobs of this name or alias.

        Raises:
            UnknownJobName: there is none; the message suggests the nearest.

        """
        try:
            return self._by_name[name]
        except KeyError:
            broken = "".join(f"; {each}" for each in self.broken)
            raise UnknownJobName(
                f"no processor for jobs named {name!r}{did_you_mean(name, self._by_name)}{broken}",
            ) from None

    def names(self) -> tuple[str, ...]:
        """The names of all jobs it can run, without aliases, sorted."""
        return tuple(sorted({each.name for each in self._by_name.values()}))

    def queues(self) -> frozenset[str]:
        """The queues that its jobs wait in."""
        return frozenset(kind(each.payload).queue for each in self._by_name.values())

    def processors(self) -> tuple[AnyProcessor, ...]:
        """Each processor once, by name."""
        return tuple(self._by_name[name] for name in self.names())

    def protocols(self) -> tuple[tuple[Any, Any, Any], ...]:
        """The types of the views' slices, for `build_view`; processors that take the job alone have none."""
        return tuple(found for each in self.processors() if (found := each.protocols()) is not None)

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name


def load_processors(
    entries: Entries,
    *,
    entry_points: bool | Iterable[importlib.metadata.EntryPoint] = True,
) -> ProcessorRegistry:
    """The registry of everything that the entries and the installed distributions offer.

    Args:
        entries: a module's path, a module, a Processor, or a list of these.
        entry_points: whether to take the group `jobkit.processors` of the installed distributions too; or the entry
            points to take.

    Raises:
        DeclarationError: a module does not import or holds no processor, an entry is none of the above, two processors
            carry one name, or one does not fit its payload.

    """
    found = list(_of_entries(entries))
    broken: list[BrokenEntryPoint] = []
    points = importlib.metadata.entry_points(group=GROUP) if entry_points is True else entry_points or ()
    for point in points:
        origin = _distribution(point)
        try:
            loaded = point.load()
            found += [(each, origin) for each, _ in _of_entries(loaded)]
        except Exception as error:  # noqa: BLE001 - one distribution's fault, whatever it is, stays its own
            broken.append(BrokenEntryPoint(point.name, point.value, origin, f"{type(error).__name__}: {error}"))
    return ProcessorRegistry(found, broken)


def _of_entries(entries: object) -> Iterable[tuple[AnyProcessor, str]]:
    match entries:
        case None:
            return
        case str():
            yield from _of_module(_imported(entries))
        case ModuleType():
            yield from _of_module(entries)
        case Processor():
            yield cast("AnyProcessor", entries), "a value"
        case Iterable() if not isinstance(entries, type | bytes):
            for each in cast("Iterable[object]", entries):
                yield from _of_entries(each)
        case _:
            hint = "; did you forget @processor(...)?" if callable(entries) else ""
            raise DeclarationError(
                f"processors=: expected a module's path, a module, a Processor or a list of these, got {entries!r}"
                f"{hint}",
            )


def _of_module(module: ModuleType) -> Iterable[tuple[AnyProcessor, str]]:
    held = [each for each in vars(module).values() if isinstance(each, Processor)]
    if not held:
        raise DeclarationError(
            f"module {module.__name__} holds no processor; decorate its functions with @processor(PayloadClass), or "
            "import them into it",
        )
    for each in held:
        yield each, f"module {module.__name__}"


def _imported(path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except Exception as error:
        raise DeclarationError(
            f"processors=: module {path!r} does not import: {type(error).__name__}: {error}",
        ) from error


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist else "an unknown distribution"
