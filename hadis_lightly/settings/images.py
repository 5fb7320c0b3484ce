"""Sections about images: where they come from, and how they are loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from hadis_lightly.fields import setting

SOURCE_NAMES = (
    "digits", "cifar10", "cifar20", "stl10", "imagenet10", "imagenet_dogs", "npz",
    "folder",
)  # fmt: skip
#: Sources whose path need not exist yet.
DOWNLOADED = ("cifar10", "cifar20", "stl10")


def absolute_path(path: Any) -> Any:
    """A path, or each of a list, that means the same in every working folder.

    None and ``-``, standard input, stay as they are.
    """
    if isinstance(path, (list, tuple)):
        return [absolute_path(one) for one in path]
    if not path or path == "-":
        return path
    return os.path.abspath(os.path.expanduser(path))


@dataclass
class DataSettings:
    """Where the images come from."""

    source: str = setting("cifar10", "Source of the images.", choices=SOURCE_NAMES)
    # A path or a list of paths; OmegaConf has no type for that.
    path: Any = setting(
        None,
        "A folder; several folders or files, '[a,b]'; a list of paths, .txt, .csv, "
        ".tsv or .jsonl, - for standard input; a .parquet or .arrow table of images; "
        "an image or npz file. The place where torchvision "
        "keeps cifar10, cifar20 and stl10; the ImageNet folder for imagenet10 and "
        "imagenet_dogs.",
        effect="rounding",
        is_path=True,
    )
    follow_links: bool = setting(
        False, "Follow links that lead out of the folder, as sort_by=link makes them."
    )
    limit: int | None = setting(
        None, "Use only this many images, drawn at random; for a first try.", low=1
    )
    download: bool = setting(
        True, "Allow downloading cifar10, cifar20 and stl10.", effect="nothing"
    )
    unlabelled: bool = setting(
        False,
        "Also train on the 100,000 unlabelled images of stl10; they are not scored.",
    )
    on_error: str = setting(
        "raise",
        "Broken files and files that are not images: raise lists them all and stops, "
        "skip lists them and continues without them.",
        choices=("raise", "skip"),
    )
    check: str = setting(
        "headers",
        "How files are checked before training: headers reads headers only, full "
        "decodes all. With a cache or on_error=skip, all are decoded first anyway.",
        choices=("headers", "full"),
        effect="nothing",
    )
    duplicates: str = setting(
        "keep",
        "Images that are there twice: the same pixels, or re-encoded, resized, "
        "mirrored or cropped a little. keep does not look for them; list writes "
        "duplicates.csv; fold also trains on one image of each group and gives its "
        "copies the same cluster.",
        choices=("keep", "list", "fold"),
    )
    cache: str = setting(
        "auto",
        "Where decoded images are kept: auto is memory, or a file below "
        "~/.cache/hadis-lightly if they need more than half of what is free, or other "
        "processes need them; a folder for that file; off decodes them in every epoch.",
        effect="nothing",
        is_path=True,
    )
    decode_size: int | None = setting(
        None,
        "Shorter side in pixels that images in files are reduced to as they are "
        "decoded, if they are larger; by default twice views.input_size. 0 keeps them "
        "as they are.",
        low=0,
    )
    num_channels: int | None = setting(
        None, "Read a folder as grey (1) or colour (3); by default as the source is."
    )
    pipeline: str = setting(
        "auto",
        "device keeps the images in device memory and makes the views there; workers "
        "reads and crops in worker processes and does the rest on the device; lightly "
        "makes each view in worker processes; auto is device where the images fit, "
        "else workers.",
        choices=("auto", "device", "workers", "lightly"),
        effect="rounding",
    )
    max_resident_gib: float | None = setting(
        None,
        "Most device memory for the images, in GiB; by default half of what is free.",
        low=0,
        effect="rounding",
    )


@dataclass
class LoaderSettings:
    """How batches are loaded."""

    batch_size: int = setting(
        256,
        "Images per step and device. Lower it if memory runs out or images are few; "
        "HSD and PCL compare within a batch, so keep at least 64 if you can. With "
        "model.train=heads at most half of the images.",
        low=2,
        reason="BatchNorm needs two",
    )
    num_workers: int | None = setting(
        None,
        "Worker processes of the pipelines workers and lightly; by default one per "
        "core, at most 16. If the CPU trains too, half of the cores, a quarter for "
        "small images, at most 8. 0 loads in the main process.",
        low=0,
        high=1024,
        effect="nothing",
    )
    even_clusters: bool = setting(
        False,
        "Draw images from all clusters of the previous epoch equally often. Paper: "
        "for CIFAR-20.",
    )
