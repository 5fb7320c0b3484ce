"""The number of clusters beside other methods, and the picture of its curves."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

METHODS = ["silhouette", "Davies-Bouldin", "gap", "HDBSCAN"]


@pytest.fixture
def cases(tmp_path: Path) -> list[str]:
    """Two draws of a set in files, and the folder of a run."""
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 3
    rows = np.eye(8, dtype=np.float32)[labels]
    rows += 0.1 * draw.standard_normal(rows.shape, dtype=np.float32)
    for i in range(2):
        arrays = {"embeddings": rows, "labels": labels, "features": rows}
        np.savez(tmp_path / f"three-{i}.npz", **arrays)
    run = tmp_path / "run"
    run.mkdir()
    np.save(run / "embeddings.npy", rows)
    lines = ["key,target", *(f"{i},{label}" for i, label in enumerate(labels))]
    (run / "assignments.csv").write_text("\n".join(lines))
    return [str(tmp_path / name) for name in ("three-0.npz", "three-1.npz", "run")]


def test_every_method_counts_three_groups_and_rows_are_kept(
    cases: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from n_clusters import main

    rows, table = tmp_path / "rows.csv", tmp_path / "table.md"
    words = [*cases, "--range", "2", "5", "--csv", str(rows), "--markdown", str(table)]
    monkeypatch.setattr("sys.argv", ["n_clusters.py", *words, "--methods", *METHODS])
    main()
    with rows.open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 5 * (1 + len(METHODS))  # two spaces of a file, one of a run
    assert {row["first"] for row in found} == {"3"}
    assert {row["true"] for row in found} == {"3"}
    text = "| three | 3 | embedding | choose_n_clusters | 2 | 3, 3 | 2 | 2 | 1.000 |"
    assert text in table.read_text()
    capsys.readouterr()
    begin = rows.stat().st_mtime_ns
    main()
    assert rows.stat().st_mtime_ns == begin  # nothing is computed again
    assert capsys.readouterr().out == table.read_text()


def test_the_curves_are_drawn(
    cases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n_clusters_picture import main

    out = tmp_path / "curves.png"
    words = [*cases[1:], "--range", "2", "5", "--titles", "one", "two"]
    monkeypatch.setattr("sys.argv", ["picture.py", *words, "--out", str(out)])
    main()
    assert out.read_bytes().startswith(b"\x89PNG")


def test_images_without_a_class_are_refused(
    cases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n_clusters import main

    (tmp_path / "run" / "assignments.csv").write_text("key\n0\n")
    monkeypatch.setattr("sys.argv", ["n_clusters.py", cases[2]])
    with pytest.raises(SystemExit, match="some images have no class"):
        main()
