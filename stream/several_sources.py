"""Live sources of several instruments as one stream: decided once, in the order they come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from flowtape.stream.ports import Clock, Event, Gap, Rules, Source
from flowtape.stream.trades import Trades

EVENTS_WAITING_MAX = 64

_Waiting = asyncio.Queue[tuple[int, Event | Exception | None]]
"""Events by the number of the instrument; None where a source ended, what went wrong in one."""


async def events_of(sources: Sequence[Source]) -> AsyncGenerator[tuple[int, Event]]:
    """Yield the number of an instrument and an event of it, until every source has ended.

    Of several sources, one that is quiet says nothing of the others: time passes without trades as
    far as all of them know. The first failure of a source ends all.
    """
    if len(sources) == 1:
        async with aclosing(sources[0].events()) as events:
            async for event in events:
                yield 0, event
        return
    waiting: _Waiting = asyncio.Queue(EVENTS_WAITING_MAX)
    known = KnownTimes(len(sources))
    tasks = [
        asyncio.create_task(_pump(number, source, waiting)) for number, source in enumerate(sources)
    ]
    try:
        open_count = len(sources)
        while open_count:
            number, found = await waiting.get()
            if found is None:
                open_count -= 1
            elif isinstance(found, Exception):
                raise found
            elif (told := known.tell(number, found)) is not None:
                yield number, told
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(number: int, source: Source, waiting: _Waiting) -> None:
    try:
        async with aclosing(source.events()) as events:
            async for event in events:
                await waiting.put((number, event))
        await waiting.put((number, None))
    except Exception as error:
        await waiting.put((number, error))


class KnownTimes:
    """Up to when each of several instruments is known, in microseconds."""

    def __init__(self, count: int) -> None:
        self._known_us = [0] * count
        self._told_us = 0

    def tell(self, number: int, event: Event) -> Event | None:
        """Return what an event says of all instruments; None when that is nothing new."""
        if isinstance(event, Gap | Rules):
            return event
        ts_us = int(event.ts_us.max()) if isinstance(event, Trades) else event.ts_us
        self._known_us[number] = max(self._known_us[number], ts_us)
        if not isinstance(event, Clock):
            return event
        all_us = min(self._known_us)
        if all_us <= self._told_us:
            return None
        self._told_us = all_us
        return Clock(all_us)
