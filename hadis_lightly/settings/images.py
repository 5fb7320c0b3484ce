"""Sections about images: where they come from, how they are loaded and augmented."""

from __future__ import annotations

from dataclasses import dataclass

from hadis_lightly.data import SOURCE_NAMES
from hadis_lightly.fields import setting
from hadis_lightly.transforms import CIFAR10_NORMALIZE


@dataclass
class DataSettings:
    """Where the images come from."""

    source: str = setting("cifar10", "Source of the images.", choices=SOURCE_NAMES)
    path: str | None = setting(
        None,
        "The folder or npz file; the place where torchvision keeps cifar10, cifar20 "
        "and stl10; the ImageNet folder for imagenet10 and imagenet_dogs.",
        effect="rounding",
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
        "HSD and PCL compare within a batch, so keep at least 64 if you can.",
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


@dataclass
class ViewsSettings:
    """Augmentation of the images; the names are lightly's."""

    input_size: int = setting(
        32,
        "Side of a view in pixels. Cost grows with its square: choose the smallest at "
        "which you can tell the classes apart.",
        low=1,
        high=4096,
    )
    cj_prob: float = setting(0.8, "Probability of colour jitter.", low=0, high=1)
    cj_strength: float = setting(
        1.0,
        "Factor on the four strengths below. Lower it if colour or brightness "
        "distinguishes the classes.",
        low=0,
    )
    cj_bright: float = setting(0.4, "Strength of the brightness jitter.", low=0)
    cj_contrast: float = setting(0.4, "Strength of the contrast jitter.", low=0)
    cj_sat: float = setting(0.4, "Strength of the saturation jitter.", low=0)
    cj_hue: float = setting(0.1, "Strength of the hue jitter.", low=0, high=0.5)
    min_scale: float = setting(
        0.08,
        "Smallest area of the crop, as a fraction of the image. Raise it to 0.2-0.7 "
        "if crops miss the object.",
        above=0,
        high=1,
    )
    random_gray_scale: float = setting(
        0.2, "Probability of conversion to grey. 0 for grey images.", low=0, high=1
    )
    gaussian_blur: float = setting(0.0, "Probability of blur.", low=0, high=1)
    solarization_prob: float = setting(
        0.0, "Probability of solarization.", low=0, high=1
    )
    hf_prob: float = setting(
        0.5,
        "Probability of a horizontal flip. 0 for text and digits.",
        low=0,
        high=1,
    )
    vf_prob: float = setting(
        0.0,
        "Probability of a vertical flip. 0.5 for images without an up, such as "
        "microscopy.",
        low=0,
        high=1,
    )
    affine_degrees: float = setting(
        0.0, "Largest rotation of a view in degrees. Not in the paper.", low=0, high=180
    )
    affine_translate: float = setting(
        0.0,
        "Largest shift of a view, as a fraction of its side. Not in the paper.",
        low=0,
        high=1,
    )
    affine_shear: float = setting(
        0.0,
        "Largest horizontal shear of a view in degrees. Not in the paper.",
        low=0,
        high=89,
    )
    mean: list[float] = setting(
        CIFAR10_NORMALIZE["mean"],
        "Mean of the pixels per channel, for pixels in [0, 1]: one value for grey "
        "images. With pretrained weights, those of their training.",
        low=-1e6,
        high=1e6,
    )
    std: list[float] = setting(
        CIFAR10_NORMALIZE["std"],
        "Standard deviation of the pixels per channel, as for the mean.",
        low=1e-6,
        high=1e6,
    )
