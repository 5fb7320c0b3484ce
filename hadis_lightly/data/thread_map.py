"""A function over many images in threads, with few of them under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, TypeVar

Result = TypeVar("Result")

#: Called with how many images are done and how many there are.
Progress: TypeAlias = Callable[[int, int], None]


def thread_map(
    function: Callable[[int], Result],
    n: int,
    num_threads: int = 4,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yields ``function(0)``, ..., ``function(n - 1)`` in this order.

    Unlike ``ThreadPoolExecutor.map``, which submits all calls at once, it is no more
    than four per thread ahead of the caller; what has not begun is given up when the
    caller stops or a call fails.

    Args:
        function: Called from several threads at once.
        n: Number of calls.
        num_threads: Number of threads.
        progress: Called after each.
    """
    num_threads = max(1, num_threads)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for index in range(n + 4 * num_threads):
                if index < n:
                    pending.append(pool.submit(function, index))
                done = index - 4 * num_threads
                if 0 <= done < n:
                    result = pending.popleft().result()
                    if progress is not None:
                        progress(done + 1, n)
                    yield result
        finally:
            for future in pending:
                future.cancel()
