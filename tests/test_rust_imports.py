"""Which Rust module may use which, and which crate. Dependencies point down, and there are no circles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import rust_modules

# Crates that only some files may use.
RUST_ONLY_IN = {
    r"rayon\b": re.compile(r"rust/core/src/parallel/.*"),
    r"(core|std)::arch\b": re.compile(r"rust/core/src/simd/.*"),
    r"(pyo3|numpy)\b": re.compile(r"rust/python/.*"),
}

# The files and folders of rust/core/src, and what each may use. `lib.rs` exports what is public.
_WORDS = {"error", "hash", "scalar", "string_enum"}
_NUMBERS = _WORDS | {"activation", "matrix", "memory", "simd", "stabilizer", "weight_format"}
RUST_ALLOWED = {
    "error": set(),
    "hash": set(),
    "scalar": set(),
    "string_enum": {"error"},
    "weight_format": {"string_enum"},
    "matrix": {"error"},
    "stabilizer": {"error", "scalar"},
    "simd": {"error", "scalar"},
    "memory": {"error", "scalar", "simd"},
    "activation": {"scalar", "simd", "stabilizer", "string_enum"},
    "naive": {"activation"},
    "parallel": {"error", "hash"},
    "linalg": _NUMBERS,
    "network": _NUMBERS | {"linalg", "parallel"},
    "preprocess": _NUMBERS | {"linalg", "network", "parallel"},
    "training": _NUMBERS | {"linalg", "network", "parallel"},
    "probe": {"error", "linalg", "memory", "parallel", "scalar", "simd", "weight_format"},
}


def rust_violations(path: str, source: str) -> list[str]:
    """The crates that a Rust file uses though only others may: `use x`, or a path that starts with x."""
    code = re.sub(r"//.*", "", source)
    return [
        f"{path} uses {crate}"
        for crate, where in RUST_ONLY_IN.items()
        if not where.fullmatch(path) and re.search(rf"(?<![\w:]){crate}\s*(::|;|\{{)", code)
    ]


def test_rust_crates_stay_in_their_rooms(root: Path) -> None:
    files = {file.relative_to(root).as_posix(): file.read_text() for file in root.glob("rust/*/src/**/*.rs")}
    assert {"rust/core/src/parallel/team.rs", "rust/core/src/lib.rs", "rust/python/src/lib.rs"} <= set(files)
    for crate, where in RUST_ONLY_IN.items():
        rooms = [source for path, source in files.items() if where.fullmatch(path)]
        assert any(re.search(crate, source) for source in rooms), (
            f"nobody uses {crate}: is the rule still true?"
        )
    assert [fault for path, source in files.items() for fault in rust_violations(path, source)] == []


def rust_graph(modules: dict[str, str]) -> dict[str, set[str]]:
    """What each module of a crate uses, without the crate's root."""
    return {
        name: rust_modules.uses(name, code, set(modules)) - {""} for name, code in modules.items() if name
    }


def order_violations(graph: dict[str, set[str]]) -> list[str]:
    """What modules of the core use although their folder may not."""
    folder = {name: name.partition("::")[0] for name in graph}
    unknown = [
        f"{name} is in no folder of RUST_ALLOWED" for name in graph if folder[name] not in RUST_ALLOWED
    ]
    return unknown or [
        f"{name} uses {other}"
        for name, used in graph.items()
        for other in sorted(used)
        if folder[other] not in RUST_ALLOWED[folder[name]] | {folder[name]}
    ]


def test_rust_modules_use_what_is_below_them(root: Path) -> None:
    graph = rust_graph(rust_modules.read(root / "rust/core/src"))
    print(f"{len(graph)} Rust modules, {sum(map(len, graph.values()))} uses of another")
    assert len(graph) > 40
    assert "simd::dispatch" in graph["network::layer"]
    assert order_violations(graph) == []


@pytest.mark.parametrize("crate", ["core", "python"])
def test_rust_modules_have_no_circles(root: Path, crate: str) -> None:
    graph = rust_graph(rust_modules.read(root / "rust" / crate / "src"))
    assert sum(map(len, graph.values())) > 20
    assert rust_modules.circle(graph) == set()


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("linalg::packed_gemm", "use crate::network::layer::Layer;"),
        (
            "linalg::packed_gemm",
            "use {crate::error::Error};\nuse crate::{matrix::Matrix, training::{loss::Loss}};",
        ),
        ("network::layer", "fn f() -> crate::training::loss::Loss {}"),
        ("network::layer", "use super::super::training::loss;"),
        ("parallel::team", "use crate::memory::with_scratch;"),
    ],
)
def test_a_planted_use_is_found(root: Path, module: str, code: str) -> None:
    modules = rust_modules.read(root / "rust/core/src")
    modules[module] = modules.get(module, "") + code
    assert len(order_violations(rust_graph(modules))) == 1


def test_a_planted_circle_is_found() -> None:
    modules = {"": "", "a": "use crate::b::c::X;", "b::c": "use super::d;", "b::d": "use crate::a;", "e": ""}
    graph = rust_graph(modules)
    assert graph == {"a": {"b::c"}, "b::c": {"b::d"}, "b::d": {"a"}, "e": set()}
    assert rust_modules.circle(graph) == {"a", "b::c", "b::d"}
    assert rust_modules.circle({**graph, "b::d": {"e"}}) == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("rust/core/src/network/forward.rs", "use rayon::prelude::*;"),
        ("rust/core/src/network/forward.rs", "pub(crate) use {rayon::ThreadPool, std::fmt};"),
        ("rust/core/src/linalg/gemv.rs", "let v = std::arch::x86_64::_mm_pause();"),
        ("rust/core/src/lib.rs", "    use core::arch::x86_64::*;"),
        ("rust/core/src/lib.rs", "use numpy::PyArray1;"),
        ("rust/core/src/error.rs", "impl From<Error> for pyo3::PyErr {}"),
        ("rust/python/src/lib.rs", "rayon::join(a, b);"),
    ],
)
def test_a_planted_crate_is_found(path: str, source: str) -> None:
    assert len(rust_violations(path, source)) == 1
    assert rust_violations(path, f"// {source}\nlet crayon = my::numpy::x;") == []
