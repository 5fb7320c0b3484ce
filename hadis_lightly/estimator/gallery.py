"""What a notebook shows of a fitted estimator."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path

from PIL import Image

from hadis_lightly.report.thumbnails import encode

_BUDGET_BYTES = 300_000


def read_gallery(folder: Path) -> bytes:
    """The picture of the clusters of a run, as a JPEG of at most some 300 KB."""
    with Image.open(folder / "clusters.png") as image:
        data, _ = encode(image.convert("RGB"), is_tiny=False, budget=_BUDGET_BYTES)
    return data


def gallery_html(title: str, text: str, picture: bytes) -> str:
    """A row of typical images for each cluster, below a title and a line of text."""
    source = f"data:image/jpeg;base64,{b64encode(picture).decode('ascii')}"
    return (
        f'<figure style="margin:0"><figcaption><code>{escape(title)}</code><br>'
        f"{escape(text)}</figcaption>"
        f'<img src="{source}" style="max-width:100%" '
        'alt="The most typical images of each cluster, a row for each"></figure>'
    )
