"""Images: sources by name, and the index that leads from a sample to its pseudo-label.

A source is a map-style dataset of ``(PIL image, target)``; :class:`IndexedDataset`
turns it, or any other dataset, into what training reads.
"""

from typing import TYPE_CHECKING

from hadis_lightly.data.duplicates import Duplicates
from hadis_lightly.data.errors import (
    DataError,
    ImageProblem,
    ImageReadError,
    ImageSizeError,
    describe_problems,
)
from hadis_lightly.data.files.array_cache import ArrayCache
from hadis_lightly.data.files.checking import (
    decoded_images,
    read_headers,
    readable_images,
)
from hadis_lightly.data.files.decoded import PixelCache
from hadis_lightly.data.files.folder import FolderSource, load_folder
from hadis_lightly.data.files.listing import load_images
from hadis_lightly.data.files.pixels import plain_image
from hadis_lightly.data.files.reader import MAX_PIXELS, decode_image, read_image
from hadis_lightly.data.files.stream import StreamedImage, stream_images
from hadis_lightly.data.image_source import ArraySource, ImageSource
from hadis_lightly.data.sets.imagenet import IMAGENET_SUBSETS, load_imagenet_subset
from hadis_lightly.data.sets.npz import load_npz
from hadis_lightly.data.sets.registry import load_source
from hadis_lightly.lazy import lazy_names
from hadis_lightly.settings.images import SOURCE_NAMES

if TYPE_CHECKING:
    from hadis_lightly.data.device_memory import format_bytes, room_for_images
    from hadis_lightly.data.indexed_dataset import IndexedDataset
    from hadis_lightly.data.loading.all_images import (
        common_size,
        count_distinct,
        images_key,
        stack_images,
    )
    from hadis_lightly.data.loading.device_loader import DeviceLoader
    from hadis_lightly.data.loading.duplicate_search import find_duplicates
    from hadis_lightly.data.loading.epoch_sampler import EpochSampler
    from hadis_lightly.data.loading.reproducible_dataset import ReproducibleDataset
    from hadis_lightly.data.loading.row_loader import RowLoader
    from hadis_lightly.data.sets.cifar import load_cifar10, load_cifar20
    from hadis_lightly.data.sets.digits import load_digits
    from hadis_lightly.data.sets.in_memory import DatasetSource, source_in_memory
    from hadis_lightly.data.sets.stl10 import BinarySource, load_stl10

# Imported when asked for: an exported model reads images without PyTorch.
_LATER = {
    "format_bytes": "device_memory",
    "room_for_images": "device_memory",
    "IndexedDataset": "indexed_dataset",
    "common_size": "loading.all_images",
    "count_distinct": "loading.all_images",
    "images_key": "loading.all_images",
    "stack_images": "loading.all_images",
    "DeviceLoader": "loading.device_loader",
    "find_duplicates": "loading.duplicate_search",
    "EpochSampler": "loading.epoch_sampler",
    "ReproducibleDataset": "loading.reproducible_dataset",
    "RowLoader": "loading.row_loader",
    "load_cifar10": "sets.cifar",
    "load_cifar20": "sets.cifar",
    "load_digits": "sets.digits",
    "DatasetSource": "sets.in_memory",
    "source_in_memory": "sets.in_memory",
    "BinarySource": "sets.stl10",
    "load_stl10": "sets.stl10",
}
__getattr__, __dir__ = lazy_names(__name__, _LATER)

__all__ = [
    "IMAGENET_SUBSETS",
    "MAX_PIXELS",
    "SOURCE_NAMES",
    "ArrayCache",
    "ArraySource",
    "BinarySource",
    "DataError",
    "DatasetSource",
    "DeviceLoader",
    "Duplicates",
    "EpochSampler",
    "FolderSource",
    "ImageProblem",
    "ImageReadError",
    "ImageSizeError",
    "ImageSource",
    "IndexedDataset",
    "PixelCache",
    "ReproducibleDataset",
    "RowLoader",
    "StreamedImage",
    "common_size",
    "count_distinct",
    "decode_image",
    "decoded_images",
    "describe_problems",
    "find_duplicates",
    "format_bytes",
    "images_key",
    "load_cifar10",
    "load_cifar20",
    "load_digits",
    "load_folder",
    "load_imagenet_subset",
    "load_images",
    "load_npz",
    "load_source",
    "load_stl10",
    "plain_image",
    "read_headers",
    "read_image",
    "readable_images",
    "room_for_images",
    "source_in_memory",
    "stack_images",
    "stream_images",
]
