"""Writes the report: one HTML page with everything in it."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from hadis_lightly.atomic import atomic_write
from hadis_lightly.checks import check_integer
from hadis_lightly.report.content import changed_images, page_content
from hadis_lightly.report.report_data import ReportData
from hadis_lightly.report.selection import choose_rows
from hadis_lightly.report.thumbnails import Progress, Sheet, make_sheets
from hadis_lightly.text import plain

# In the order in which they build on each other; page.js starts the page.
_SCRIPTS = (
    "base.js", "decisions.js", "pictures.js", "selection.js", "viewer.js",
    "overview.js", "clusters.js", "matrix.js", "tree.js", "map.js", "band.js",
    "curves.js", "browser.js", "work.js", "page.js",
)  # fmt: skip


def write_report(
    data: ReportData,
    path: Path,
    *,
    max_images: int = 10_000,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> Path:
    """Writes one page that needs nothing else: no network, no other files.

    Args:
        data: What is shown.
        path: HTML file to write, or a folder that gets an ``index.html``.
        max_images: Most images in the page; numbers, sizes and scores are of all.
        progress: Called with the images done and their number.
        warn: Called with a line if images can no longer be read, and with another if
            some were replaced.

    Returns:
        The file that was written.

    Raises:
        ValueError: if ``max_images`` is below 1.
    """
    check_integer("max_images", max_images, least=1)
    path = Path(path)
    if not is_page(path):
        path = path / "index.html"
    rows = choose_rows(data, max_images)
    sheets = list(
        make_sheets(
            data.read, rows.tolist(), read_small=data.read_small, progress=progress
        )
    )
    content = page_content(data, rows, sheets)
    with atomic_write(path) as file:
        file.writelines(_page(content, sheets))
    if warn is not None:
        for line in changed_images(data, rows, sheets):
            warn(line)
    return path


def is_page(path: Path) -> bool:
    """Whether a path names an HTML file; else it is a folder for one."""
    return path.suffix.lower() in (".html", ".htm")


def _page(content: dict[str, Any], sheets: Iterable[Sheet]) -> Iterator[str]:
    style = _part("page.css")
    script = "(() => {\n" + "\n".join(_part(name) for name in _SCRIPTS) + "\n})();"
    values = {
        "policy": _policy(style, script),
        "title": html.escape(plain(content["title"])),
        "style": style,
        "data": _json_for_script(content),
        "script": script,
    }
    # In one pass: what is put in is not looked at again.
    page = re.sub(
        r"\{\{(\w+)\}\}", lambda found: values.get(found[1], ""), _part("page.html")
    )
    before, after = page.split("<!-- sheets -->")
    yield before
    for number, sheet in enumerate(sheets):
        text = b64encode(sheet.data).decode("ascii")
        yield f'<script type="text/plain" id="sheet-{number}">{text}</script>\n'
    yield after


def _json_for_script(content: dict[str, Any]) -> str:
    r"""JSON that no HTML parser takes for the end of its script, in ASCII.

    Example:
        >>> _json_for_script({"key": "</script>"})
        '{"key":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _policy(style: str, script: str) -> str:
    """Content security policy: this style, this script, and nothing from outside."""
    script_hash, style_hash = (
        b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")
        for text in (script, style)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; "
        f"style-src 'sha256-{style_hash}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _part(name: str) -> str:
    file = files("hadis_lightly.report") / "page" / name
    return file.read_text(encoding="utf-8").strip()
