"""Label Studio: one task per image, with its cluster as a prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, linked_images

_CONTROL = "label"  # name of the choices in the interface
_IMAGE = "image"


def write_label_studio(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes ``tasks.json``, ``interface.xml``, and links to the images.

    Addresses of images are those of Label Studio's local files, with the folder that
    contains ``folder`` as its document root.

    Args:
        images: The images.
        folder: An empty folder, under the name that it will keep.
        progress: Called with the images done and their number.

    Returns:
        The tasks.
    """
    name = folder.absolute().name
    files = linked_images(images.source, folder, progress)
    columns = images.columns()
    rows = zip(*columns.values(), strict=True)
    tasks: list[dict[str, Any]] = []
    for file, row in zip(files, rows, strict=True):
        values: dict[str, Any] = dict(zip(columns, row, strict=True))
        address = f"/data/local-files/?d={quote(f'{name}/{file}')}"
        choice = {
            "from_name": _CONTROL,
            "to_name": _IMAGE,
            "type": "choices",
            "value": {"choices": [values["label"]]},
        }
        prediction = {
            "model_version": images.title,
            "score": values["confidence"],
            "result": [choice],
        }
        tasks.append({"data": {**values, _IMAGE: address}, "predictions": [prediction]})
    (folder / "interface.xml").write_text(_interface(images), encoding="utf-8")
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    return path


def _interface(images: ClusteredImages) -> str:
    """An image and, beside it, one choice per label, in the order of the clusters."""
    rows = images.table.labels.argsort(kind="stable")
    choices = "".join(
        f"    <Choice value={quoteattr(label)}/>\n"
        for label in dict.fromkeys(images.labels[row] for row in rows)
    )
    return (
        "<View>\n"
        f'  <Image name="{_IMAGE}" value="${_IMAGE}"/>\n'
        f'  <Choices name="{_CONTROL}" toName="{_IMAGE}" choice="single">\n'
        f"{choices}"
        "  </Choices>\n"
        "</View>\n"
    )
