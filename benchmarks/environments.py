"""Make the environments of the peers: a virtual one for each Python peer, a folder of npm for BullMQ on Node.

Their ranges of versions conflict, so each has one of its own, in `.bench/` at the root of the project. Versions are
pinned here; packages come from whichever registries pip and npm are set up for.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".bench"
LIMIT: Final = 600
"""Seconds that one installation may take."""


@attrs.frozen
class Environment:
    """What one peer runs in."""

    name: str
    packages: tuple[str, ...]
    node: bool = False

    @property
    def folder(self) -> Path:
        """Where it is, whether it was made or not."""
        return CACHE / self.name

    @property
    def program(self) -> str:
        """Give the interpreter that runs the peer."""
        return "node" if self.node else str(self.folder / "bin" / "python")

    @property
    def wanted(self) -> str:
        """Name what it is made from: other versions make it again."""
        return hashlib.sha256(repr((self.packages, self.node, sys.version_info[:2])).encode()).hexdigest()

    @property
    def made(self) -> bool:
        """Say whether it is there, with the versions that are pinned here."""
        stamp = self.folder / "installed"
        return stamp.is_file() and stamp.read_text() == self.wanted

    def make(self) -> None:
        """Install it anew. Raises CalledProcessError where pip or npm cannot; they say why on stderr."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.node:
            command = ["npm", "install", "--prefix", str(self.folder), "--no-audit", "--no-fund", "--silent"]
        else:
            venv.create(self.folder, with_pip=True)
            command = [self.program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *self.packages], check=True, timeout=LIMIT)
        (self.folder / "installed").write_text(self.wanted)


ENVIRONMENTS: Final = {
    each.name: each
    for each in (
        Environment("bullmq-node", ("bullmq@5.81.5", "ioredis@5"), node=True),
        Environment("bullmq-py", ("bullmq==3.4.4", "uvloop", "hiredis")),
        Environment("arq", ("arq==0.28.0", "hiredis", "uvloop")),
        Environment("dramatiq", ("dramatiq[redis]==2.2.1", "hiredis")),
        Environment("huey", ("huey==3.5.4", "redis", "hiredis")),
        Environment("streaq", ("streaq==7.2.0", "uvloop")),
        # saq imports typing_extensions without asking for it.
        Environment("saq", ("saq[redis,hiredis]==0.26.4", "typing_extensions", "uvloop")),
        Environment("celery", ("celery[redis]==5.7.0", "hiredis")),
        Environment("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", "uvloop", "hiredis", "orjson")),
    )
}
"""rq has none: it is a part of jobkit's own environment, in the version that jobkit runs on."""


def main(arguments: list[str]) -> None:
    """Make what is missing, or what is named anew; what cannot be made is told, and leaves the others alone."""
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}; all without")
    names = parser.parse_args(arguments).names
    unknown = set(names) - set(ENVIRONMENTS)
    if unknown:
        parser.error(f"unknown peer {min(unknown)!r}; there are {', '.join(ENVIRONMENTS)}")
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    failed = []
    for each in ENVIRONMENTS.values():
        if names and each.name not in names:
            continue
        if each.made and each.name not in names:
            print(f"{each.name}: is there")
            continue
        print(f"{each.name}: {' '.join(each.packages)}", flush=True)
        try:
            each.make()
        except (OSError, subprocess.SubprocessError) as error:
            failed.append(each.name)
            print(f"{each.name}: not made: {error}", file=sys.stderr)
    if failed:
        sys.exit(f"not made: {', '.join(failed)}; the benchmarks skip them")
