"""The number of clusters is found where there are any, and doubted where not."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from hadis_lightly.cluster import KMeans, NClustersChoice, choose_n_clusters
from hadis_lightly.cluster.n_clusters_choice import _grid
from hadis_lightly.cluster.n_clusters_signs import _adjusted_rand, _silhouette
from tests.cluster.generated import normal


def groups(sizes: Iterable[int], *, spread: float, d: int = 16) -> Tensor:
    """Groups of rows around orthogonal directions."""
    sizes = list(sizes)
    centers = torch.eye(d)[: len(sizes)].repeat_interleave(torch.tensor(sizes), dim=0)
    return centers + spread * normal(len(centers), d, torch.float32, 0)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("sizes", [[60] * 5, [200, 100, 60, 40, 20]])
def test_groups_are_counted_also_uneven_ones(sizes: list[int], whiten: bool) -> None:
    X = groups(sizes, spread=0.1)
    choice = choose_n_clusters(X, (2, 9), whiten=whiten, n_repeats=3, random_state=0)
    assert choice.n_clusters == choice.ranking[0] == 5
    assert choice.is_clear and choice.wins == (3, 3) and choice.as_good == []
    assert [signs.n_clusters for signs in choice.curve] == list(range(2, 10))
    five, six = choice.curve[3:5]
    assert five.n_clusters == 5 and five.smallest == min(sizes)
    assert five.agreement > 0.99 and five.weakest > 0.99 > six.weakest
    assert six.unseparated > five.unseparated or min(sizes) < 60
    assert choice.describe().startswith("5 clusters")


def test_groups_of_groups_have_two_levels() -> None:
    X = groups([80] * 6, spread=0.05)
    X[:, 6] += torch.tensor([2.0, 0.0, 0.0]).repeat_interleave(160)
    X[:, 7] += torch.tensor([0.0, 2.0, 0.0]).repeat_interleave(160)
    X[:, 8] += torch.tensor([0.0, 0.0, 2.0]).repeat_interleave(160)
    choice = choose_n_clusters(X, (2, 9), n_repeats=3, random_state=0)
    assert {choice.n_clusters, choice.next_level} == {3, 6}
    assert f"{choice.next_level} is the next level" in choice.describe()


def test_rows_without_clusters_have_no_clear_number() -> None:
    X = normal(400, 16, torch.float32, 0) * torch.linspace(3, 0.5, 16)
    choice = choose_n_clusters(X, (2, 9), n_repeats=3, random_state=0)
    assert not choice.is_clear
    assert choice.describe().startswith("no clear number of clusters")


def test_a_choice_is_the_same_again_and_after_json() -> None:
    X = groups([50] * 4, spread=0.3)
    before = X.clone()
    first, again = (choose_n_clusters(X, [3, 4, 7], random_state=3) for _ in range(2))
    assert torch.equal(X, before)
    assert first == again == choose_n_clusters(X.numpy(), [7, 4, 3], random_state=3)
    restored = NClustersChoice.from_dict(json.loads(json.dumps(first.to_dict())))
    assert restored == first and restored.describe() == first.describe()


def test_the_state_of_a_generator_is_a_seed() -> None:
    X = groups([50] * 4, spread=0.3)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    one, two = (choose_n_clusters(X, (3, 5), random_state=g) for g in generators)
    assert one == two
    torch.manual_seed(1)
    assert choose_n_clusters(X, (3, 5)) == one


def test_wide_ranges_are_tried_at_some_numbers_and_around_the_best() -> None:
    few = [14, 17, 20, 24, 29, 35, 40]
    assert _grid(range(2, 41)) == [*range(2, 13), *few]
    X = groups([40] * 23, spread=0.1, d=32)
    choice = choose_n_clusters(X, (18, 32), n_repeats=2, random_state=0)
    assert choice.n_clusters == 23
    tried = {signs.n_clusters for signs in choice.curve}
    assert {18, 22, 26, 31, 32} | {23, 24, 25} <= tried < set(range(18, 33))


def test_few_rows_rows_of_zeros_and_a_sample_of_many() -> None:
    X = groups([6, 6, 6], spread=0.05)
    zeros = torch.zeros(7, X.shape[1])
    choice = choose_n_clusters(torch.cat([X, zeros]), (2, 40), random_state=0)
    assert choice.n_clusters == 3 and choice.curve[-1].n_clusters == 9
    many = groups([300] * 3, spread=0.1)
    choice = choose_n_clusters(many, (2, 4), max_samples=90, random_state=0)
    assert choice.n_clusters == 3 and 20 < choice.curve[1].smallest <= 30


def test_equal_rows_speak_for_no_number_and_get_the_fewest() -> None:
    choice = choose_n_clusters(torch.ones(40, 4), (2, 6), random_state=0)
    assert not choice.is_clear and choice.n_clusters == 2


def test_rows_of_few_values_give_a_choice() -> None:
    X = torch.eye(4)[torch.arange(80) % 2]
    assert choose_n_clusters(X, (2, 5), random_state=0).n_clusters >= 2
    same = torch.ones(20, 3)
    assert not choose_n_clusters(same, (2, 5), random_state=0).is_clear


@pytest.mark.parametrize(
    "n_clusters, message",
    [
        ((5, 3), r"a tuple \(low, high\) with low <= high"),
        ((2, 3, 4), r"a tuple \(low, high\)"),
        ((1, 5), "n_clusters must be at least 2"),
        ([60], "at most half the number of embeddings, got"),
        ([], "at most half the number of embeddings, got"),
    ],
)
def test_numbers_that_cannot_be_tried(n_clusters: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_n_clusters(groups([50], spread=0.1), n_clusters)  # type: ignore[arg-type]


def test_agreement_is_scikit_learns_adjusted_rand_index() -> None:
    a, b = np.random.default_rng(0).integers(0, 5, (2, 300))
    table = np.zeros((5, 5))
    np.add.at(table, (a, b), 1)
    assert _adjusted_rand(table) == pytest.approx(adjusted_rand_score(a, b))
    assert _adjusted_rand(np.diag([3.0, 4.0])) == 1
    assert _adjusted_rand(np.array([[7.0]])) == 1


def test_silhouette_of_centres_by_hand() -> None:
    X = groups([30] * 3, spread=0.2).double()
    X /= X.norm(dim=1, keepdim=True)
    kmeans = KMeans(3, random_state=0).fit(X)
    total = 0.0
    for row in X:
        own, other = sorted(1 - kmeans.cluster_centers_ @ row)[:2]
        total += float(1 - own / other)
    assert _silhouette(X, kmeans.cluster_centers_) == pytest.approx(total / 90)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_chooses_the_same() -> None:
    X = groups([60] * 5, spread=0.2)
    on_cpu = choose_n_clusters(X, (2, 8), random_state=0)
    on_gpu = choose_n_clusters(X.cuda(), (2, 8), random_state=0)
    assert on_gpu.ranking == on_cpu.ranking
    for one, two in zip(on_cpu.curve, on_gpu.curve, strict=True):
        assert one.agreements == pytest.approx(two.agreements, abs=1e-3)
