"""FiftyOne: a dataset as ``fo.types.FiftyOneDataset`` reads it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, image_files

# The first version with these fields; later ones migrate what they read.
_VERSION = "1.0.0"
_FIELDS = "fiftyone.core.fields."
_LABEL = "fiftyone.core.labels.Classification"


def write_fiftyone(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes ``metadata.json`` and ``samples.json``.

    A sample has the absolute path of its image, ``label`` (a classification with the
    confidence), ``ground_truth`` where its class is known, ``embedding`` (a vector),
    and the other columns under their own names.

    Args:
        images: The images.
        folder: An empty folder.
        progress: Called with the images done and their number.

    Returns:
        The samples.
    """
    files = image_files(images.source, folder, progress)
    columns = images.columns()
    labels, confidence = columns.pop("label"), columns.pop("confidence")
    classes = columns.pop("class", [""] * len(images))
    columns.pop("target", None)
    path = folder / "samples.json"
    # In ASCII: FiftyOne reads it in the encoding of the system.
    with path.open("w", encoding="ascii") as out:
        out.write('{"samples": [')
        for row, file in enumerate(files):
            sample = {
                "_id": _object_id("sample", row),
                "_media_type": "image",
                "_rand": row / len(files),
                "filepath": file,
                "tags": [],
                "metadata": None,
                "label": _classification("cluster", row, labels[row], confidence[row]),
                "embedding": _vector(images.embeddings[row]),
                **{name: values[row] for name, values in columns.items()},
            }
            if classes[row]:
                sample["ground_truth"] = _classification("class", row, classes[row])
            out.write((", " if row else "") + json.dumps(sample))
        out.write("]}")
    fields = [*_own_fields(), _label_field("label"), _label_field("ground_truth")]
    fields.append(_field("embedding", "VectorField"))
    kinds = {
        str: "StringField", int: "IntField", float: "FloatField", bool: "BooleanField"
    }  # fmt: skip
    fields += [_field(name, kinds[type(v[0])]) for name, v in columns.items()]
    dataset = {
        "name": images.title,
        "version": _VERSION,
        "media_type": "image",
        "tags": [],
        "info": {},
        "sample_fields": fields,
    }
    (folder / "metadata.json").write_text(json.dumps(dataset), encoding="ascii")
    return path


def _own_fields() -> list[dict[str, Any]]:
    """The fields that every sample has."""
    metadata = [
        _field("size_bytes", "IntField"),
        _field("mime_type", "StringField"),
        _field("width", "IntField"),
        _field("height", "IntField"),
        _field("num_channels", "IntField"),
    ]
    return [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("filepath", "StringField"),
        _field("tags", "ListField", subfield=f"{_FIELDS}StringField"),
        _field(
            "metadata",
            "EmbeddedDocumentField",
            embedded_doc_type="fiftyone.core.metadata.ImageMetadata",
            fields=metadata,
        ),
        _field("created_at", "DateTimeField", read_only=True),
        _field("last_modified_at", "DateTimeField", read_only=True),
    ]


def _label_field(name: str) -> dict[str, Any]:
    fields = [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("tags", "ListField", subfield=f"{_FIELDS}StringField"),
        _field("label", "StringField"),
        _field("confidence", "FloatField"),
        _field("logits", "VectorField"),
    ]
    kind = "EmbeddedDocumentField"
    return _field(name, kind, embedded_doc_type=_LABEL, fields=fields)


def _field(name: str, kind: str, **rest: Any) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": name,
        "ftype": _FIELDS + kind,
        "embedded_doc_type": None,
        "subfield": None,
        "fields": [],
        "db_field": name,
        "description": None,
        "info": None,
        "read_only": False,
    }
    return field | rest


def _classification(
    kind: str, row: int, label: str, confidence: float | None = None
) -> dict[str, Any]:
    return {
        "_id": _object_id(kind, row),
        "_cls": "Classification",
        "tags": [],
        "label": label,
        "confidence": confidence,
        "logits": None,
    }


def _object_id(kind: str, row: int) -> dict[str, str]:
    """An id that is the same whenever the run is written."""
    return {"$oid": hashlib.sha256(f"{kind} {row}".encode()).hexdigest()[:24]}


def _vector(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """A compressed ``.npy`` file in MongoDB's extended JSON."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    data = base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")
    return {"$binary": {"base64": data, "subType": "00"}}
