"""How many clusters embeddings have, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster.lloyd.arrays import as_rows, check_finite, directions
from hadis_lightly.cluster.lloyd.seeding import as_generator, random_rows
from hadis_lightly.cluster.n_clusters_signs import (
    NClustersSigns,
    SignsOfRows,
    scores_of_curve,
)
from hadis_lightly.precision import full_precision

# As good as the best: so much of its score. Of equal ones the largest is chosen, whose
# clusters can be merged.
AS_GOOD, EQUAL = 0.98, 0.99
# Below this stability of the best number, none stands out.
UNCLEAR = 0.5
# Of wide ranges every number up to this one is tried, then only some: each is larger
# by this factor. Those between the best and its neighbours follow.
DENSE, FACTOR = 12, 1.2
# All numbers are tried with few repeats first, large ones with few restarts. Promising
# ones, so many at most and of so much of the best score, are measured in full, twice.
FEW_REPEATS, FEW_INIT, LEADERS, PROMISING, ROUNDS = 2, 4, 5, 0.8, 2


@dataclass(frozen=True)
class NClustersChoice:
    """The number of clusters that was chosen, and what it was chosen by."""

    n_clusters: int
    """The number of the highest score, or a larger one that is equal to it."""
    curve: tuple[NClustersSigns, ...]
    """What was measured for every number that was tried, in ascending order."""

    @property
    def scores(self) -> dict[int, float]:
        """Score of each number: its silhouette, less where clusters are not stable."""
        return scores_of_curve(self.curve)

    @property
    def ranking(self) -> list[int]:
        """All numbers that were tried, the chosen one and then the best first."""
        scores = self.scores
        return sorted(scores, key=lambda k: (k != self.n_clusters, -scores[k]))

    @property
    def as_good(self) -> list[int]:
        """Other numbers whose score is nearly the highest, the best first."""
        scores = self.scores
        least = AS_GOOD * scores[self.n_clusters]
        return [k for k in self.ranking[1:] if scores[k] >= least > 0]

    @property
    def next_level(self) -> int | None:
        """The most stable other number that is more stable than those around it.

        Clusters in clusters have several good numbers; None if there is no second one.
        """
        stability = [-1.0, *(signs.stability for signs in self.curve), -1.0]
        peaks = {
            signs.n_clusters: stability[i]
            for i, signs in enumerate(self.curve, start=1)
            if stability[i] > max(stability[i - 1], stability[i + 1])
            and signs.n_clusters not in (self.n_clusters, *self.as_good)
            and stability[i] >= UNCLEAR
        }
        return max(peaks, key=lambda k: peaks[k]) if peaks else None

    @property
    def is_clear(self) -> bool:
        """Whether the clusters of the chosen number are stable at all."""
        return self._chosen.stability >= UNCLEAR

    @property
    def wins(self) -> tuple[int, int]:
        """Repeats in which this number or one as good was best, and their number."""
        n_repeats = len(self._chosen.agreements)
        good = {self.n_clusters, *self.as_good}
        n_wins = 0
        for repeat in range(n_repeats):
            scores = scores_of_curve(self.curve, repeat)
            n_wins += max(scores, key=lambda k: scores[k]) in good
        return n_wins, n_repeats

    @property
    def _chosen(self) -> NClustersSigns:
        return next(s for s in self.curve if s.n_clusters == self.n_clusters)

    def describe(self) -> str:
        """The choice in a line, and in a second one how sure it is."""
        text = f"{self.n_clusters} clusters"
        if not self.is_clear:
            text = f"no clear number of clusters; {self.n_clusters} is the best"
        if others := self.as_good:
            verb = "is" if len(others) == 1 else "are"
            text += f"; {_listed(others)} {verb} as good"
        if self.next_level is not None:
            text += f"; {self.next_level} is the next level"
        chosen, (wins, repeats) = self._chosen, self.wins
        return (
            f"{text}\nbest in {wins} of {repeats} repeats; the clusters of two halves "
            f"agree to {chosen.agreement:.2f} (adjusted Rand index; without clusters "
            f"{chosen.chance:.2f}); overlap of the weakest cluster {chosen.weakest:.2f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON and checkpoints: the choice, its verdicts, and the curve."""
        rows = [
            {**asdict(signs), "agreements": list(signs.agreements)}
            | {"stability": signs.stability, "score": self.scores[signs.n_clusters]}
            for signs in self.curve
        ]
        return {
            "n_clusters": self.n_clusters,
            "as_good": self.as_good,
            "next_level": self.next_level,
            "runners_up": self.ranking[1:4],
            "is_clear": self.is_clear,
            "wins": list(self.wins),
            "description": self.describe(),
            "curve": rows,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> NClustersChoice:
        """The choice that :meth:`to_dict` was called on."""
        names = NClustersSigns.__dataclass_fields__
        curve = tuple(
            NClustersSigns(
                **{name: row[name] for name in names}
                | {"agreements": tuple(row["agreements"])}
            )
            for row in content["curve"]
        )
        return cls(content["n_clusters"], curve)


@full_precision()
def choose_n_clusters(
    embeddings: Tensor | npt.ArrayLike,
    n_clusters: tuple[int, int] | Iterable[int] = (2, 40),
    *,
    whiten: bool = False,
    cosine_start: bool = False,
    n_init: int = 10,
    n_repeats: int = 5,
    max_samples: int = 10_240,
    random_state: int | torch.Generator | None = None,
) -> NClustersChoice:
    r"""Chooses the number of clusters of embeddings whose training knew none.

    For each number K the rows are divided into two random halves, several times, and
    k-means on each half labels all rows. The agreement A of both (adjusted Rand index)
    is compared with the one :math:`A_0` that rows of a single normal distribution with
    the same covariance reach: :math:`S = (A - A_0) / (1 - A_0)`. Few clusters nearly
    always agree, by the directions of largest variance alone; beyond chance they do
    not. The most stable number is taken, or a larger one that is nearly as stable and
    better separated: that of the highest silhouette, times :math:`S / \max S` for
    smaller numbers, times :math:`\min(1, S / (0.85 \max S))` for larger ones, and
    times :math:`\min(1, J / 0.6)`, where J is the overlap (Jaccard index) of the
    weakest cluster of one half with the most similar one of the other [0]. Clusters
    need not be of equal size, but k-means divides a large one before it finds a very
    small one.

    Time grows with ``max_samples`` and the sum of all K, memory with ``n (d + k)``.

    Args:
        embeddings: ``(n, d)``; normalised inside. Rows of zeros are left out.
        n_clusters: A tuple ``(low, high)``, at least 2: all numbers up to 12, of larger
            ones some, and more around the best; or the numbers to try. Those above half
            the number of rows are left out.
        whiten: As of :func:`fit_partition`. Whitened rows are looked at if k-means
            starts on them.
        cosine_start: As of :func:`fit_partition`: with it clusters on the cosine are
            looked at, which are found before those of whitened rows.
        n_init: Restarts of k-means.
        n_repeats: Random divisions into halves, for the most promising numbers; the
            others have two.
        max_samples: Rows looked at, drawn at random from a larger set.
        random_state: Seed of all draws; the same on all devices.

    Raises:
        ValueError: If no number can be tried, or an embedding is not finite.

    Example:
        >>> angles = torch.tensor([0.0, 2.1, 4.2]).repeat(40) + torch.rand(120) / 4
        >>> X = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> choose_n_clusters(X, (2, 8), random_state=0).n_clusters
        3

    - [0]: Hennig, 2007, https://doi.org/10.1016/j.csda.2006.11.025
    """
    check_bool("whiten", whiten)
    check_bool("cosine_start", cosine_start)
    check_integer("n_init", n_init, least=1)
    check_integer("n_repeats", n_repeats, least=1)
    check_integer("max_samples", max_samples, least=4)
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    generator = as_generator(random_state)
    source = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**31, (), generator=generator, device=source))
    if (n := len(data)) > max_samples:
        fixed = torch.Generator().manual_seed(seed)
        data = data[random_rows(n, max_samples, generator=fixed, device=data.device)]
    rows = directions(data)
    rows = rows[torch.linalg.vector_norm(rows, dim=1) > 0]
    numbers, is_range = _numbers(n_clusters, len(rows) // 2)
    signs = SignsOfRows(rows, whiten=whiten and not cosine_start, seed=seed)
    tried = _grid(numbers) if is_range else numbers
    few, few_init = min(FEW_REPEATS, n_repeats), min(FEW_INIT, n_init)
    curve = {
        k: signs.measure(k, few, n_init if k <= DENSE else few_init) for k in tried
    }
    for _ in range(ROUNDS):
        for k in _leaders(_chosen(curve), fill=is_range):
            if k not in curve or len(curve[k].agreements) < n_repeats:
                curve[k] = signs.measure(k, n_repeats, n_init)
    return _chosen(curve)


def _numbers(
    n_clusters: tuple[int, int] | Iterable[int], most: int
) -> tuple[list[int], bool]:
    """Numbers that can be tried, in ascending order; whether they are a range."""
    is_range = isinstance(n_clusters, tuple)
    wanted = list(n_clusters)
    for value in wanted:
        check_integer("n_clusters", value, least=2)
    if is_range:
        if len(wanted) != 2 or wanted[0] > wanted[1]:
            raise ValueError(
                "n_clusters must be a tuple (low, high) with low <= high, or a list of "
                f"numbers, got {n_clusters!r}."
            )
        wanted = list(range(wanted[0], min(wanted[1], most) + 1))
    numbers = sorted({int(value) for value in wanted if value <= most})
    if not numbers:
        raise ValueError(
            "n_clusters must be at most half the number of embeddings, got "
            f"{n_clusters!r} and {2 * most} embeddings."
        )
    return numbers, is_range


def _grid(numbers: Sequence[int]) -> list[int]:
    """All small numbers, fewer large ones, and the last."""
    chosen = [numbers[0]]
    for number in numbers[1:]:
        is_next = number >= round(chosen[-1] * FACTOR)
        if number <= DENSE or is_next or number == numbers[-1]:
            chosen.append(number)
    return chosen


def _leaders(choice: NClustersChoice, *, fill: bool) -> set[int]:
    """Numbers worth a second look: good ones, the most stable, those around the best.

    Args:
        choice: What is known so far.
        fill: Whether numbers may be added that have not been tried.
    """
    scores, best = choice.scores, choice.n_clusters
    leaders = {k for k in choice.ranking if scores[k] >= PROMISING * scores[best]}
    leaders &= set(choice.ranking[:LEADERS])
    leaders.add(max(choice.curve, key=lambda signs: signs.stability).n_clusters)
    if fill:
        tried = sorted(scores)
        at = tried.index(best)
        low, high = tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)]
        leaders |= set(range(low, high + 1)) - set(tried)
    return leaders


def _chosen(curve: Mapping[int, NClustersSigns]) -> NClustersChoice:
    ordered = tuple(curve[k] for k in sorted(curve))
    scores = scores_of_curve(ordered)
    most = max(scores.values())
    good = [k for k, score in scores.items() if score >= EQUAL * most]
    # Where nothing speaks for any number, the fewest.
    return NClustersChoice(max(good) if most > 0 else min(good), ordered)


def _listed(numbers: Sequence[int]) -> str:
    """``8``, ``8 and 9``, ``8, 9 and 11``."""
    first, last = numbers[:-1], numbers[-1]
    start = ", ".join(str(number) for number in first)
    return f"{start} and {last}" if start else str(last)
