"""The images of a run: readable, and such that the settings fit them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from hadis_lightly.artifacts.duplicates_file import write_duplicates
from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import (
    DatasetSource,
    FolderSource,
    ImageSource,
    count_distinct,
    describe_problems,
    find_duplicates,
    load_source,
)
from hadis_lightly.data.files.path_list import STANDARD_INPUT
from hadis_lightly.methods.backbone import fetch_weights
from hadis_lightly.progress import StepProgress
from hadis_lightly.runs.decoding import decode_once, decode_size
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.views import grey_normalize
from hadis_lightly.system import available_cores


def build_source(settings: Settings, source: ImageSource | None = None) -> ImageSource:
    """Loads the images, and checks that they can be read and that the settings fit.

    Args:
        settings: All settings; those that depend on the images are changed.
        source: Images in place of those that ``settings.data`` names.

    Raises:
        SettingsError: If there are too few images, too few of them differ, the channels
            do not match, or results would lie among the images.
        DataError: If data cannot be read; names all unreadable files, unless
            ``data.on_error`` is ``skip``.
    """
    data = settings.data
    if source is None:
        source = load_source(
            data.source,
            data.path,
            download=data.download,
            num_channels=data.num_channels,
            limit=data.limit,
            seed=settings.seed,
            on_error=data.on_error,
            unlabelled=data.unlabelled,
            follow_links=data.follow_links,
            min_side=decode_size(settings),
        )
    elif data.limit is not None:
        source = source.random_subset(data.limit, settings.seed)
    if isinstance(source, DatasetSource):
        source = replace(source, min_side=decode_size(settings))
    _check_output(settings, source)
    views = settings.views
    if settings.model.weights and (views.num_channels, source.num_channels) == (3, 1):
        # As if the grey images were of three equal channels.
        for name, values in (views.normalize or {}).items():
            setattr(views, name, grey_normalize(values))
    for name in ("mean", "std"):
        given = len((views.normalize or {}).get(name, []))
        if given != source.num_channels:
            raise SettingsError(
                f"views.{name} has {given} values, but the images have "
                f"{source.num_channels} channels."
            )
    _lower_batch_size(settings, len(source))
    check_size(settings, len(source))
    if isinstance(source, FolderSource):
        fetch_weights(settings)  # before files are read, which may take minutes
        source = decode_once(settings, source)
        _lower_batch_size(settings, len(source))
        check_size(settings, len(source))
    source = _without_copies(settings, source)
    n_clusters = settings.n_clusters_range()[0]
    num_distinct = count_distinct(source, n_clusters, available_cores())
    if num_distinct < n_clusters:
        seen = f"there are only {num_distinct} different images"
        if num_distinct == 1:
            seen = f"all {len(source):,} images are equal"
        raise SettingsError(f"n_clusters is {settings.n_clusters}, but {seen}.")
    return source


def _without_copies(settings: Settings, source: ImageSource) -> ImageSource:
    """Looks for copies and leaves them out, as ``data.duplicates`` says."""
    if settings.data.duplicates == "keep":
        return source
    show = settings.trainer.progress_bar
    with StepProgress("looking for duplicates", show) as progress:
        found = find_duplicates(source, available_cores(), progress)
    if settings.data.duplicates == "fold" and found.num_copies:
        note = f"without {found.describe()}: {len(found.kept):,} images"
        source = source.subset(found.kept, note)
        _lower_batch_size(settings, len(source))
        check_size(settings, len(source))
    return replace(source, duplicates=found)


def _lower_batch_size(settings: Settings, n: int) -> None:
    """Leaves at least two batches in a pass over few images, unless all is trained.

    Epochs of heads take several passes, see ``features.min_steps``.
    """
    if settings.model.train == "all":
        return
    devices = settings.trainer.devices
    world_size = 1 if devices == "auto" else int(devices)
    most = max(2, n // (2 * world_size))
    settings.loader.batch_size = min(settings.loader.batch_size, most)


def _check_output(settings: Settings, source: ImageSource) -> None:
    """Raises SettingsError if ``output_dir`` is a folder that holds images."""
    if settings.output_dir is None or not isinstance(source, FolderSource):
        return
    folder = Path(settings.output_dir).resolve()
    root = Path(source.root).resolve()
    if folder.is_relative_to(root) and any(
        (root / file).is_relative_to(folder) for file in source.files
    ):
        raise SettingsError(
            f"output_dir is {settings.output_dir!r}, which holds images: figures would "
            "be taken for images. Choose another folder."
        )


def check_size(settings: Settings, n: int, world_size: int | None = None) -> None:
    """Raises SettingsError if ``n`` images are too few for the clusters or batches."""
    low, high = settings.n_clusters_range()
    # To choose, halves of the images are clustered.
    if (low if low == high else 2 * low) > n:
        images = "there is only 1 image" if n == 1 else f"there are only {n} images"
        raise SettingsError(f"n_clusters is {settings.n_clusters}, but {images}.")
    size, devices = settings.loader.batch_size, settings.trainer.devices
    if world_size is None:
        world_size = 1 if devices == "auto" else int(devices)
    if size * world_size > n:
        times = f" on each of {world_size} devices" if world_size > 1 else ""
        fitting = max(2, n // world_size // 2)
        advice = f" Set loader.batch_size={fitting}." * (fitting * world_size <= n)
        raise SettingsError(
            f"loader.batch_size is {size}{times}, but there are only {n} images: no "
            f"batch would be full.{advice}"
        )


def check_standard_input(settings: Settings, world_size: int) -> None:
    """Raises SettingsError if several processes would read standard input."""
    if settings.data.path == STANDARD_INPUT and world_size > 1:
        raise SettingsError(
            f"data.path is {STANDARD_INPUT}, which only one of {world_size} processes "
            "can read: write the list to a .txt file."
        )


def list_left_out(source: ImageSource, folder: Path) -> str:
    """Writes ``left_out.txt`` if files were skipped; returns its first lines."""
    problems = source.left_out if isinstance(source, FolderSource) else ()
    if not problems or rank_zero_only.rank:  # type: ignore[attr-defined]
        return ""
    path = folder / "left_out.txt"
    with atomic_write(path) as file:
        file.write(describe_problems(problems, limit=None) + "\n")
    return f"{describe_problems(problems)}\n(see {path})"


def list_duplicates(source: ImageSource, folder: Path) -> str:
    """Writes ``duplicates.csv`` if copies were sought; returns how many there are."""
    found = source.duplicates
    if found is None or rank_zero_only.rank:  # type: ignore[attr-defined]
        return ""
    path = write_duplicates(folder, found)
    if not found.num_copies:
        return found.describe()
    what = "left out of training" if source.folded else "kept"
    return f"{found.describe()}, {what} (see {path})"
