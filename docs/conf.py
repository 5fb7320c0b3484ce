"""Sphinx: MyST pages, API pages from the docstrings. Warnings are errors."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

from hadis_lightly import __version__

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


def name_files_in_diffs(app: Sphinx, doctree: nodes.document) -> None:
    """Diffs of included files name them by their full path; leaves the name."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "udiff":
            text = block.astext().replace(f"{app.srcdir}/examples/", "")
            block.rawsource = text
            block.children = [nodes.Text(text)]
