"""The modules of a Rust crate and which of them each one uses, read from the sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_TESTS = re.compile(r"#\[cfg\((?:all\()?test[^\]]*\)\]\s*(?:pub(?:\(\w+\))? )?mod \w+ \{.*", re.DOTALL)
_USE = re.compile(r"\buse\s+((?:crate|super|self)::[^;]+);")
_PATH = re.compile(r"(?<![\w$])(?:crate|super)(?:::\w+)+")


def read(src: Path) -> dict[str, str]:
    """The code of each module below `src` by its path ("network::layer"), without comments and tests."""
    modules = {}
    for file in src.rglob("*.rs"):
        if file.stem.endswith("tests"):
            continue
        parts = file.relative_to(src).with_suffix("").parts
        name = "::".join(part for part in parts if part not in ("mod", "lib"))
        modules[name] = _TESTS.sub("", re.sub(r"//[^\n]*", "", file.read_text()))
    return modules


def _paths(tree: str, prefix: str = "") -> Iterator[str]:
    """The paths of a `use` tree: "a::{b, c::d}" has a::b and a::c::d."""
    tree = tree.strip()
    group = re.fullmatch(r"([\w:]*?)(?:::)?\{(.*)\}", tree, re.DOTALL)
    if not group:
        yield prefix + tree.split(" as ")[0].strip()
        return
    prefix += f"{group[1]}::" if group[1] else ""
    depth, item = 0, ""
    for character in f"{group[2]},":
        if character == "," and depth == 0:
            if item.strip():
                yield from _paths(item, prefix)
            item = ""
        else:
            depth += (character == "{") - (character == "}")
            item += character


def uses(name: str, code: str, modules: set[str]) -> set[str]:
    """The modules that the code of module `name` names, by `use` or by a path."""
    paths = [path for tree in _USE.findall(code) for path in _paths(tree)]
    paths += _PATH.findall(_USE.sub("", code))
    found = set()
    for path in paths:
        first, *rest = path.split("::")
        base = [] if first == "crate" else name.split("::")
        if first == "super":
            base.pop()
            while rest and rest[0] == "super":
                base.pop()
                rest.pop(0)
        names = base + rest
        ancestors = ("::".join(names[:count]) for count in range(len(names), 0, -1))
        found |= {next((module for module in ancestors if module in modules), name)}
    return found - {name}


def circle(graph: dict[str, set[str]]) -> set[str]:
    """Modules that use each other, by however many steps, or use such modules; empty if there are none."""
    graph = dict(graph)
    while leaves := {name for name, used in graph.items() if not used & set(graph)}:
        graph = {name: used for name, used in graph.items() if name not in leaves}
    return set(graph)
