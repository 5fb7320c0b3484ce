"""A function over many images in threads, a few images ahead of the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")

#: Called with the number of images done and the number of all images.
Progress: TypeAlias = Callable[[int, int], None]


def thread_map(
    function: Callable[[int], Result],
    n: int,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yields ``function(0)``, ..., ``function(n - 1)`` in this order.

    Unlike ``ThreadPoolExecutor.map``, which submits all calls at once, it keeps four
    calls per thread under way, and cancels them if the caller stops or a call fails.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        futures = (pool.submit(function, index) for index in range(n))
        pending = deque(islice(futures, 4 * num_threads))
        try:
            for done in range(1, n + 1):
                result = pending.popleft().result()
                pending.extend(islice(futures, 1))
                if progress is not None:
                    progress(done, n)
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
