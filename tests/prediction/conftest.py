"""Photos, and runs that have clustered them."""

from tests.photo_runs import digits_run, photos, run_folder

__all__ = ["digits_run", "photos", "run_folder"]
