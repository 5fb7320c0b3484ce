"""Parquet: all columns, and the embeddings as a column of lists."""

from __future__ import annotations

from pathlib import Path

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, own_file


def write_parquet(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes ``clusters.parquet``.

    The columns are those of :meth:`ClusteredImages.columns`, then ``file``, the path of
    the image, null if it has none of its own, and ``embedding``, float32 lists of equal
    length.

    Args:
        images: The images.
        folder: An empty folder.
        progress: Not called: it takes no time.

    Returns:
        The file.

    Raises:
        ImportError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            "to=parquet needs pyarrow: pip install 'hadis-lightly[parquet]'"
        ) from None
    columns = images.columns()
    columns["file"] = [own_file(images.source, row) for row in range(len(images))]
    values = pa.array(images.embeddings.reshape(-1))
    width = images.embeddings.shape[1]
    table = pa.table(columns)
    table = table.append_column(
        "embedding", pa.FixedSizeListArray.from_arrays(values, width)
    )
    path = folder / "clusters.parquet"
    parquet.write_table(table, path)
    return path
