import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_tests_say() -> None:
    """docs/acceptance.md is what docs/acceptance.py makes of the tests; run it again where it is not."""
    made: str = runpy.run_path(str(ROOT / "docs" / "acceptance.py"))["page"]()
    assert (ROOT / "docs" / "acceptance.md").read_text(encoding="utf-8") == made
