"""`./dev bench NAME`: run one benchmark."""

import sys

from benchmarks import fence, imports, throughput

BENCHMARKS = {"throughput": throughput, "imports": imports, "fence": fence}


def main() -> None:
    """Run the named benchmark; without a name, say which there are."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        for each, module in BENCHMARKS.items():
            print(f"./dev bench {each:12} {(module.__doc__ or '').splitlines()[0]}")
        sys.exit(0 if name in {"", "-h", "--help"} else 2)
    BENCHMARKS[name].main(sys.argv[2:])


if __name__ == "__main__":
    main()
