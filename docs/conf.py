"""Sphinx: MyST pages, API pages from the docstrings. Warnings are errors."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

from hadis_lightly import __version__
from hadis_lightly.fields import field_infos
from hadis_lightly.settings import Settings
from hadis_lightly.settings.help import meaning, value_text

project = "hadis-lightly"
author = "The hadis-lightly contributors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"hadis-lightly {version}"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Shape", "returns_style"),
    "Input to this transform",
    "Output of this transform",
]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", name_files_in_diffs)
    app.connect("source-read", fill_in_settings)


def fill_in_settings(app: Sphinx, page: str, source: list[str]) -> None:
    """Replaces ``<!-- settings: SECTION -->`` by a table of its settings."""
    source[0] = re.sub(
        r"<!-- settings: (\w+) -->", lambda found: settings_table(found[1]), source[0]
    )


def settings_table(section: str) -> str:
    """A table of the settings of one section; of ``run`` those in none."""
    is_run = section == "run"
    settings = Settings() if is_run else getattr(Settings(), section)
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, info in field_infos(settings):
        if "." not in name:
            full_name = name if is_run else f"{section}.{name}"
            default = value_text(getattr(settings, name))
            rows.append(f"| `{full_name}` | `{default}` | {meaning(info)} |")
    return "\n".join(rows)


def name_files_in_diffs(app: Sphinx, doctree: nodes.document) -> None:
    """Diffs of included files name them by their full path; leaves the name."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "udiff":
            text = block.astext().replace(f"{app.srcdir}/examples/", "")
            block.rawsource = text
            block.children = [nodes.Text(text)]
