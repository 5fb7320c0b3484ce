"""The names that a person gave to clusters, and the run that they belong to."""

from __future__ import annotations

from pathlib import Path

from hadis_lightly.artifacts.names_file import (
    Names,
    clusters_id,
    names_of_run,
    write_names,
)


def test_a_run_has_the_names_of_its_own_clusters_alone(tmp_path: Path) -> None:
    run, other = clusters_id([[1.0, 0.0]]), clusters_id([[0.0, 1.0]])
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    places = tmp_path, checkpoints, checkpoints / "last.ckpt", tmp_path / "copy.ckpt"
    assert [names_of_run(place, run) for place in places] == [None] * 4
    nothing: frozenset[int] = frozenset()
    write_names(tmp_path, Names(run, 1, {"0": "cat"}, nothing, nothing, {}))
    path = tmp_path / "names.json"
    assert [names_of_run(place, run) for place in places] == [path] * 4
    assert [names_of_run(place, other) for place in places] == [None] * 4
    path.write_text('["any", "names"]', encoding="utf-8")
    assert names_of_run(tmp_path, run) is None
