"""Reading ahead, so that a slow disk does not hold the venue up."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def prefetched(items: Iterable[_T]) -> Iterator[_T]:
    """Yield items, the next of which is made by another thread while one is used."""
    waiting = iter(items)
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as reader:
        coming = reader.submit(next, waiting, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, waiting, end)
            yield item  # type: ignore[misc]
