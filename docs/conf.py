"""The configuration of Sphinx. `make docs` builds the site into docs/_build/html."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tinyrs

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "tinyrs"
author = "The tinyrs developers"
project_copyright = author
version = release = tinyrs.__version__

extensions = [
    "benchmark_table",
    "matplotlib.sphinxext.plot_directive",
    "mathml",
    "myst_parser",
    "numpydoc",
    "rust_item",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_extensions", "gallery", "how_it_works/figures"]
templates_path = ["_templates"]

# Pages.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]  # the gallery's settings contain objects that cannot be pickled
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"tinyrs {version}"
html_static_path = ["_static"]
html_css_files = ["tinyrs.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_domain_indices = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "tinyrs"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "start": [], "coming_from": []}

# The API reference.
default_role = "literal"
autosummary_generate = True
autodoc_mock_imports = ["mlflow"]
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False  # the templates list them
numpydoc_class_members_toctree = False

# Pictures and the gallery.
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("svg", 100)]
plot_rcparams = {"figure.figsize": (6, 3), "figure.constrained_layout.use": True, "font.size": 10}
plot_apply_rcparams = True
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": "/",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "capture_repr": (),
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 10_000,  # times of the machine that built the site say nothing to its readers
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
}


# Pages of this site that include a document of the repository.
PAGES = {
    "BENCHMARKING.md": "/project/benchmarks.md",
    "CHANGELOG.md": "/project/changelog.md",
    "CONTRIBUTING.md": "/project/contributing.md",
    "RELIABILITY.md": "/project/reliability.md",
    "SECURITY.md": "/project/security.md",
}


def adapt_links(app, path, document, content):  # type: ignore[no-untyped-def]
    """Links of an included document lead to its page here; those to source files become their paths."""

    def adapted(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        if target in PAGES:
            return f"[{text}]({PAGES[target]}{anchor or ''})"
        return f"`{target}`"

    content[0] = re.sub(r"\[([^\]]+)\]\(([\w./]+)(#[\w-]+)?\)", adapted, content[0])


def skip_inherited_from_scikit_learn(app, what, name, member, skip, options):  # type: ignore[no-untyped-def]
    """Leaves methods that scikit-learn's base classes define to scikit-learn's documentation."""
    return True if (getattr(member, "__module__", "") or "").startswith("sklearn") else None


def without_class(app, what, name, item, options, signature, returned):  # type: ignore[no-untyped-def]
    """Removes the class, which Python passes by itself, from the signature of a class method in Rust."""
    text = getattr(item, "__text_signature__", None) or ""
    return (text.replace("($cls, ", "("), returned) if text.startswith("($cls, ") else None


def setup(app) -> None:  # type: ignore[no-untyped-def]
    app.connect("include-read", adapt_links)
    app.connect("autodoc-skip-member", skip_inherited_from_scikit_learn)
    app.connect("autodoc-process-signature", without_class, priority=400)  # before numpydoc
