"""A folder of photos."""

from tests.photo_runs import photos

__all__ = ["photos"]
