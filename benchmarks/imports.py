"""What importing each public name costs, beside the libraries it stands on.

Each import is a fresh interpreter, bytecode compiled beforehand; the names alternate within a round and the median is
told, less that of a bare interpreter. `Payload` is measured against pydantic and attrs, which it needs, with one model
made: pydantic loads half of itself when the first model is made, and a payload is one.
"""

import argparse
import statistics
import subprocess
import sys
import time

import jobkit

BASES = {
    "(bare)": "pass",
    "pydantic + attrs": "import attrs; from pydantic import BaseModel, Field",
    "pydantic + attrs + a model": "import attrs; from pydantic import BaseModel, Field\nclass Model(BaseModel): x: int",
    "redis": "import redis",
    "rq": "import rq",
}


def cost(statement: str) -> float:
    """Give the milliseconds of an interpreter that runs the statement."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began) * 1000


def main(arguments: list[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="./dev bench imports", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    statements = BASES | {name: f"from jobkit import {name}" for name in jobkit.__all__}
    samples: dict[str, list[float]] = {name: [] for name in statements}
    for name, statement in statements.items():
        cost(statement)
        samples[name].clear()
    for _ in range(options.rounds):
        for name, statement in statements.items():
            samples[name].append(cost(statement))
    medians = {name: statistics.median(each) for name, each in samples.items()}
    bare = medians["(bare)"]
    print(f"import, ms above a bare interpreter ({bare:.0f} ms), median of {options.rounds}")
    for name, median in sorted(medians.items(), key=lambda row: row[1]):
        print(f"{name:27} {median - bare:>7.0f}")
    over = medians["Payload"] - medians["pydantic + attrs + a model"]
    print(f"Payload costs {over:.0f} ms more than pydantic and attrs with one model")
