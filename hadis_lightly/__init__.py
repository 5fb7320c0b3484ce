"""HaDis deep clustering for lightly: images without labels in, clusters out.

The rooms are imported one by one (``from hadis_lightly.loss import HaDisLoss``). This
module imports nothing until ``ImageClusterer`` is used, so that ``import
hadis_lightly`` costs next to nothing.
"""

__version__ = "0.1.0"
__all__ = ["ImageClusterer"]

TYPE_CHECKING = False  # as typing's, which would have to be imported
if TYPE_CHECKING:
    from hadis_lightly.estimator import ImageClusterer


def __getattr__(name: str) -> object:
    if name == "ImageClusterer":
        from hadis_lightly.estimator import ImageClusterer

        return ImageClusterer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
