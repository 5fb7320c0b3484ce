"""A function over many images in threads, with few of them under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def thread_map(
    function: Callable[[int], Result],
    n: int,
    num_threads: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Result]:
    """Yields ``function(0)``, ..., ``function(n - 1)`` in this order.

    What has not begun is given up when the caller stops listening or one of them fails.

    Args:
        function: Called from several threads at once.
        n: How often.
        num_threads: Number of threads.
        progress: Called with how many are done and ``n``, after each.
    """
    num_threads = max(1, num_threads)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for index in range(n + 4 * num_threads):
                if index < n:
                    pending.append(pool.submit(function, index))
                done = index - 4 * num_threads + 1
                if done > 0 and pending:
                    result = pending.popleft().result()
                    if progress is not None:
                        progress(done, n)
                    yield result
        finally:
            for future in pending:
                future.cancel()
