from __future__ import annotations

import numpy as np
import pytest

from hadis_lightly.cluster import match_clusters, name_clusters
from hadis_lightly.report.content import page_content
from hadis_lightly.report.explanations import explain_score, explain_scores
from hadis_lightly.report.matrices import confusion, match_classes, similarity
from hadis_lightly.report.selection import choose_rows
from hadis_lightly.report.thumbnails import make_sheets
from tests.report.some_data import some_data


def test_all_rows_are_shown_cluster_by_cluster_most_typical_first() -> None:
    data = some_data()
    rows = choose_rows(data, 60)
    assert sorted(rows) == list(range(60))
    order = np.stack([data.labels[rows], data.distance[rows]], axis=1).tolist()
    assert order == sorted(order)


@pytest.mark.parametrize("max_images", [1, 7, 150, 400, 999])
def test_of_too_many_the_telling_ones_are_shown(max_images: int) -> None:
    data = some_data(1000, 5)
    rows = choose_rows(data, max_images)
    assert len(rows) == len(set(rows.tolist())) == max_images
    assert np.array_equal(rows, choose_rows(data, max_images))
    if max_images < 400:
        return
    shown = set(rows.tolist())
    for cluster in range(5):
        members = np.flatnonzero(data.labels == cluster)
        assert members[np.argmin(data.distance[members])] in shown
        assert members[np.argmin(data.confidence[members])] in shown
    assert set(np.argsort(data.confidence)[:8]) <= shown
    assert set(np.argsort(-data.distance)[:8]) <= shown


def test_every_cluster_is_shown_before_any_is_shown_twice() -> None:
    data = some_data(3000, 150)
    assert len(np.unique(data.labels[choose_rows(data, 450)])) == 150


def test_numbers_are_of_all_images() -> None:
    data = some_data(1000, 4)
    rows = choose_rows(data, 50)
    sheets = list(make_sheets(data.read, rows.tolist()))
    content = page_content(data, rows, sheets)
    assert content["total"] == 1000
    assert len(content["images"]["key"]) == 50
    assert [cluster["size"] for cluster in content["clusters"]] == [250] * 4
    assert sum(map(sum, content["confusion"]["counts"])) == 1000
    of_first = dict(content["clusters"][0]["classes"])
    assert of_first == {
        c: int((data.targets[data.labels == 0] == c).sum()) for c in of_first
    }


def test_an_empty_cluster_has_size_zero() -> None:
    data = some_data(labels=np.zeros(60, dtype=np.int64))
    rows = choose_rows(data, 100)
    content = page_content(data, rows, list(make_sheets(data.read, rows.tolist())))
    assert [cluster["size"] for cluster in content["clusters"]] == [60, 0, 0]
    assert content["clusters"][1]["classes"] == []


def test_classes_are_matched_as_in_the_scores() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(-1, 4, 300)
    labels = np.where(rng.random(300) < 0.6, (targets + 2) % 6, rng.integers(0, 6, 300))
    prototypes = np.eye(6)
    data = some_data(
        300, 6, labels=labels, targets=targets, class_names=None, prototypes=prototypes
    )
    matching, table = match_clusters(targets, labels)
    assert match_classes(data) == matching
    result = confusion(data)
    assert result is not None
    assert np.array_equal(result["counts"], table)
    assert result["clusters"][:4] == [
        next(k for k, c in matching.items() if c == target) for target in range(4)
    ]
    counts = [count for _, _, count in result["mix_ups"]]
    assert counts == sorted(counts, reverse=True)
    assert all(matching.get(k) != c for c, k, _ in result["mix_ups"])


def test_without_classes_there_is_no_confusion() -> None:
    data = some_data(with_classes=False)
    assert confusion(data) is None
    assert match_classes(data) == {}


def test_too_many_clusters_for_a_confusion_matrix_leave_the_mix_ups() -> None:
    result = confusion(some_data(900, 300))
    assert result is not None
    assert result["counts"] is None
    assert result["mix_ups"]


def test_similar_prototypes_stand_side_by_side() -> None:
    angles = np.array([0.0, 1.5, 0.1, 1.6, 0.2])
    prototypes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    result = similarity(prototypes)
    places = [result["order"].index(cluster) for cluster in (0, 2, 4)]
    assert max(places) - min(places) == 2
    assert result["pairs"][0][2] == pytest.approx(np.cos(0.1), abs=1e-4)
    matrix = np.array(result["matrix"])
    assert matrix == pytest.approx(matrix.T)
    assert np.diag(matrix) == pytest.approx(np.ones(5))


@pytest.mark.parametrize("k", [1, 2, 100, 101])
def test_any_number_of_prototypes(k: int) -> None:
    result = similarity(
        some_data(
            k=k, labels=np.zeros(60, dtype=int), targets=np.full(60, -1)
        ).prototypes
    )
    assert (result["matrix"] is None) == (k > 100)
    assert len(result["pairs"]) == min(k * (k - 1) // 2, 8 if k <= 100 else 60)


def test_a_cluster_is_named_after_a_class_of_half_of_its_images() -> None:
    labels = np.repeat([0, 1, 2], [8, 4, 4])
    targets = np.full(16, -1)
    targets[:1], targets[8:10], targets[12:15] = 0, 1, 2
    names = {"class_names": ["trip", "cats", "dogs"]}
    data = some_data(16, 3, labels=labels, targets=targets, **names)
    rows = choose_rows(data, 16)
    content = page_content(data, rows, list(make_sheets(data.read, rows.tolist())))
    assert [c["match"] for c in content["clusters"]] == [None, 1, 2]
    assert name_clusters(targets, labels) == {1: 1, 2: 2}


def test_scores_of_a_few_images_say_so_and_come_last() -> None:
    scores = {"nmi": 1.0, "silhouette": 0.2}
    titles = [card["title"] for card in explain_scores(scores, 4, 26)]
    assert titles == ["Silhouette", "NMI of the 4 images with a class"]
    titles = [card["title"] for card in explain_scores(scores, 13, 26)]
    assert titles == ["NMI of the 13 images with a class", "Silhouette"]
    assert explain_scores(scores, 26, 26)[0]["title"] == "NMI"


@pytest.mark.parametrize(
    "name",
    ["nmi", "acc", "ari", "silhouette", "size_entropy", "prototype_cosine", "size_min"],
)
def test_every_score_is_explained(name: str) -> None:
    assert len(explain_score(name, 1.0)["words"]) > 20


def test_scores_that_nobody_knows_or_that_are_not_defined() -> None:
    assert explain_score("my_score", 0.5)["title"] == "my score"
    assert explain_score("silhouette", float("nan"))["text"] == "not defined"
