"""The code in README, docstrings and documentation runs, and prints what is shown.

`make docs` runs the pages of the site too, and builds it.
"""

from __future__ import annotations

import doctest
import inspect
import os
import re
import runpy
from pathlib import Path

import code_blocks
import pytest
import tinyrs
from conftest import ROOT

DOCS = ROOT / "docs"
BUILT = ("_build", "auto_gallery", "generated")
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not set(BUILT) & set(path.parts)]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_code_of_the_readme_runs() -> None:
    assert code_blocks.run_document(ROOT / "README.md") >= 8


@pytest.mark.skipif(not os.environ.get("TINYRS_DOCS"), reason="set TINYRS_DOCS=1, as make docs does")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs(page: Path) -> None:
    code_blocks.run_document(page)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("accuracy: 0.984", "accuracy: 0.978", True),
        ("accuracy: 0.984", "accuracy: 0.884", False),
        ("3 rows, 0.5", "4 rows, 0.5", False),
        ("a ... of 300", "a 123 of 300", True),
        ("a ... of 300", "a 123 of 301", False),
    ],
)
def test_outputs_are_compared_with_a_tolerance(expected: str, got: str, same: bool) -> None:
    assert code_blocks.same(expected + "\n", got + "\n") is same


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(Exception, match=r"expected the output\n3"):
        code_blocks.run_document(page)


@pytest.mark.parametrize("name", ["tinyrs", *(name for name in tinyrs.__all__ if name[0] != "_")])
def test_examples_in_docstrings_print_what_they_show(name: str) -> None:
    names = {"tinyrs": tinyrs, **{name: getattr(tinyrs, name) for name in tinyrs.__all__}}
    item = names[name]
    members = vars(item).values() if inspect.isclass(item) else ()
    for documented in (item, *filter(callable, members)):
        text = inspect.getdoc(documented) or ""
        examples = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0


def test_the_api_reference_has_every_public_name() -> None:
    text = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", text, re.MULTILINE))
    assert set(tinyrs.__all__) - {"__version__"} <= listed
    assert "tinyrs.__version__" in text


def test_dead_links_are_found(tmp_path: Path) -> None:
    check = runpy.run_path(str(DOCS / "check_links.py"))["dead_links"]
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">b</a> <a href="b.html#gone">b</a> <a href="c.html">c</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="https://example.org/">elsewhere</a></p>')
    assert check(tmp_path) == ["a.html: no anchor b.html#gone", "a.html: no file c.html"]
