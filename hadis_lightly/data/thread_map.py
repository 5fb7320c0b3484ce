"""A function over many images in threads, with few of them under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
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
    for index, result in enumerate(map_stream(function, range(n), num_threads)):
        if progress is not None:
            progress(index + 1, n)
        yield result


def map_stream(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int = 4
) -> Iterator[Result]:
    """Yields ``function(item)`` for every item in order, however many there are.

    Items are taken when their turn comes, four per thread in advance.

    Args:
        function: Called from several threads at once.
        items: What it is called with.
        num_threads: Number of threads.
    """
    num_threads = max(1, num_threads)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 4 * num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
