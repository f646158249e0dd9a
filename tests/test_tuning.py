"""rust/core/TUNING.md and the code name the same constants, files and headings."""

from __future__ import annotations

import re
from pathlib import Path

CORE = Path(__file__).parent.parent / "rust" / "core"
TEXT = (CORE / "TUNING.md").read_text(encoding="utf-8")
SOURCES = [
    path.read_text(encoding="utf-8")
    for folder in ("src", "benches")
    for path in (CORE / folder).rglob("*.rs")
]


def test_what_the_document_names_exists() -> None:
    """Every identifier and every file between backticks is in the core, so that renaming it shows here."""
    words = set(re.findall(r"\w+", " ".join(SOURCES)))
    names = re.findall(r"`([\w/.]+)!?`", TEXT)
    files = [name for name in names if name.endswith(".rs") and not name.startswith("rust/")]
    identifiers = [name for name in names if re.fullmatch(r"\w+", name)]
    assert len(files) > 10
    assert len(identifiers) > 20
    assert [name for name in files if not (CORE / "src" / name).is_file()] == []
    assert [name for name in identifiers if name not in words] == []


def test_comments_point_to_headings_that_exist() -> None:
    """Every 'TUNING.md, "Heading"' in a comment of the core, even if it is broken over two lines."""
    headings = set(re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE))
    comments = [re.sub(r"\s*\n\s*//[/!]?\s*", " ", source) for source in SOURCES]
    references = [
        heading for source in comments for heading in re.findall(r'TUNING\.md`?, "([^"]+)"', source)
    ]
    assert len(references) > 10
    assert [heading for heading in references if heading not in headings] == []
