from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

# HADIS_TEST_PROFILE=long draws more cases, and new ones each time.
_QUICK = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("quick", _QUICK)
settings.register_profile("long", _QUICK, max_examples=400, derandomize=False)
settings.load_profile(os.environ.get("HADIS_TEST_PROFILE", "quick"))


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is left in, or found in, the home folder of whoever runs the tests."""
    os.environ["HADIS_LIGHTLY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def one_thread_from_the_start() -> None:
    """Also for what modules make once: other threads would give other last bits."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Fits this small are quicker, and steadier on a busy machine, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
