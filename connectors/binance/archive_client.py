"""Downloading from Binance's archive: checked, resumed, and polite when the archive says no."""

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import aiohttp

from flowtape.connectors.binance.archive import CHECKSUM_SUFFIX, ArchiveEntry
from flowtape.connectors.binance.markets import is_loopback
from flowtape.connectors.binance.pacing import Backoff, Sleep, pause_named_s
from flowtape.connectors.binance.part_file import (
    PartFile,
    drop,
    hash_of,
    quarantine,
    write_checksum,
)
from flowtape.connectors.binance.unreached import why_unreached
from flowtape.stream.errors import InputError, SourceError

ATTEMPTS = 5
PAUSE_S_MAX = 180.0
"""A longer pause than this is left to the person; bans last from two minutes to days."""

_CHUNK_BYTES = 1 << 16
_PROGRESS_BYTES = 1 << 16  # an attempt that brought so much does not count against the others
_CHECKSUM_BYTES_MAX = 1 << 12
_CHECKSUM = re.compile(rb"\s*([0-9a-fA-F]{64})(?:\s.*)?", re.DOTALL)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)", re.ASCII)

Progress = Callable[[ArchiveEntry, int, int], None]
"""Told the bytes of a file that are there, and how many it has (0 when unknown)."""

_T = TypeVar("_T")


class NotServedError(SourceError):
    """The archive has no such file."""


class ArchiveDownError(SourceError):
    """The archive cannot be used now, whatever file is asked for."""


class MismatchError(SourceError):
    """A file is not what its CHECKSUM says, though it was downloaded twice."""


@dataclass(frozen=True, slots=True)
class ArchiveTimes:
    """How long things may take, in seconds; `read_s` without a byte."""

    connect_s: float = 15.0
    read_s: float = 30.0
    retry_base_s: float = 0.5
    retry_cap_s: float = 30.0


class _TryAgainError(Exception):
    def __init__(self, text: str, *, pause_s: float = 0.0, progress: bool = False) -> None:
        super().__init__(text)
        self.pause_s = pause_s
        self.progress = progress


class ArchiveClient:
    """Downloads from the archive at `base_url`; an async context manager that owns its session.

    A download that was cut off, or killed, goes on where it ended unless the file has changed.
    `tell` gets a line when the archive makes us wait.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock_us: Callable[[], int],
        rng: random.Random,
        sleep: Sleep = asyncio.sleep,
        times: ArchiveTimes | None = None,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._base_url = base_url
        self._clock_us = clock_us
        self._rng = rng
        self._sleep = sleep
        self._times = times or ArchiveTimes()
        self._tell = tell
        self._free_us = 0
        self._reached = False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._times.connect_s,
                sock_read=self._times.read_s,
            ),
            trust_env=not is_loopback(self._base_url),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def checksum(self, entry: ArchiveEntry) -> str:
        """Return the SHA-256 that the archive publishes for a file.

        Raises NotServedError when there is none, ArchiveDownError when the archive cannot be used,
        and SourceError when no usable answer came.
        """
        url = f"{self._base_url}/{entry.path}{CHECKSUM_SUFFIX}"

        async def ask() -> str:
            async with self._opened().get(url) as response:
                self._check(response, url)
                body = b""
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > _CHECKSUM_BYTES_MAX:
                        break
            match = _CHECKSUM.fullmatch(body)
            if match is None:
                raise _TryAgainError(f"{url} holds no SHA-256")
            return match.group(1).decode().lower()

        return await self._tried(url, ask)

    async def download(
        self, entry: ArchiveEntry, sha256: str, folder: Path, progress: Progress
    ) -> Path:
        """Return a file of the archive in `folder`, whose hash is `sha256`, with its CHECKSUM.

        One that is there already is taken. Where the hash is another one, file and CHECKSUM are
        asked for once more, from the start. Raises as `checksum` does, MismatchError when the hash
        is wrong again, and InputError when the disk does not take the file.
        """
        target = folder / entry.name
        found = await asyncio.to_thread(hash_of, target)
        if found not in {None, sha256}:
            drop(target)
            found = None
        if found is None:
            found = await self._complete(entry, target, progress)
        if found != sha256:
            drop(target)
            sha256 = await self.checksum(entry)
            found = await self._complete(entry, target, progress)
        if found == sha256:
            write_checksum(target, sha256)
            return target
        raise MismatchError(
            f"{entry.name} hashes to {found[:12]}..., but its CHECKSUM says {sha256[:12]}..., "
            f"twice; try again another day, or trust it and import {quarantine(target)}"
        )

    async def _complete(self, entry: ArchiveEntry, target: Path, progress: Progress) -> str:
        url = f"{self._base_url}/{entry.path}"
        part = PartFile(target)

        async def ask() -> None:
            with contextlib.closing(part):
                await self._go_on(entry, url, part, progress)

        await self._tried(url, ask)
        part.complete()
        found = await asyncio.to_thread(hash_of, target)
        assert found is not None
        return found

    async def _go_on(
        self, entry: ArchiveEntry, url: str, part: PartFile, progress: Progress
    ) -> None:
        have, tag = part.kept()
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
        async with self._opened().get(url, headers=headers) as response:
            self._check(response, url)
            start, size = _sizes(response)
            new_tag = response.headers.get("ETag", "")
            if response.status == 416 and size == have:
                return
            if response.status == 200:
                # Weak tags do not promise equal bytes.
                part.begin(new_tag if new_tag.startswith('"') else "")
                have = 0
            elif start == have and new_tag == tag:
                part.resume()
            else:
                part.forget()
                raise _TryAgainError(f"{url} was changed while it was downloaded")
            progress(entry, have, size)
            begun = have
            try:
                async for piece in response.content.iter_chunked(_CHUNK_BYTES):
                    part.write(piece)
                    have += len(piece)
                    progress(entry, have, size)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                slow = isinstance(error, TimeoutError)
                what = f"sent nothing for {self._times.read_s:g} s" if slow else "broke off"
                enough = have - begun >= _PROGRESS_BYTES
                raise _TryAgainError(
                    f"{url} {what} after {have:,} bytes", progress=enough
                ) from None
        if size and have != size:
            raise _TryAgainError(f"{url} ended after {have:,} of {size:,} bytes")

    async def _tried(self, url: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        backoff = Backoff(self._times.retry_base_s, self._times.retry_cap_s, self._rng)
        while True:
            while (now_us := self._clock_us()) < self._free_us:
                await self._sleep((self._free_us - now_us) / 1e6)
            try:
                return await self._once(url, ask)
            except _TryAgainError as error:
                again = error
            if again.progress:
                backoff.reset()
            wait_s = backoff.next_s()
            if again.pause_s > PAUSE_S_MAX:
                raise ArchiveDownError(
                    f"{again} and wants a pause of {again.pause_s:,.0f} s; run this again after it"
                )
            if backoff.failures >= ATTEMPTS:
                kind = SourceError if self._reached else ArchiveDownError
                raise kind(f"{again}; tried {ATTEMPTS} times")
            if again.pause_s:
                self._pause(again)
            await self._sleep(wait_s)

    async def _once(self, url: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await ask()
        except aiohttp.InvalidURL as error:
            raise InputError(f"{url} is no address: {error}; check --archive-url") from None
        except aiohttp.ClientHttpProxyError as error:
            raise ArchiveDownError(
                f"the proxy on the way to {self._base_url} answered {error.status}; check "
                "HTTPS_PROXY"
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._unreachable(error)
        except TimeoutError:
            raise _TryAgainError(f"{url} did not answer within {self._times.read_s:g} s") from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise _TryAgainError(f"{url} broke off ({type(error).__name__})") from None

    def _unreachable(self, error: aiohttp.ClientError) -> NoReturn:
        said = f"cannot reach {self._base_url}: {why_unreached(error, self._times.connect_s)}"
        if self._reached:
            raise _TryAgainError(said) from None
        raise ArchiveDownError(f"{said}; check --archive-url and the network") from None

    def _pause(self, again: _TryAgainError) -> None:
        now_us = self._clock_us()
        if now_us >= self._free_us:
            self._tell(f"{again}; waiting {again.pause_s:.0f} s")
        self._free_us = max(self._free_us, now_us + int(again.pause_s * 1e6))

    def _check(self, response: aiohttp.ClientResponse, url: str) -> None:
        """Raise for every answer that is no content; 416 is left to who asked for a range."""
        self._reached = True
        status = response.status
        if status in {200, 206, 416}:
            return
        if status == 404:
            raise NotServedError(f"{url} is not there")
        text = f"{url} answered {status} {response.reason or ''}".rstrip()
        named = response.headers.get("Retry-After")
        if status in {418, 429}:
            raise _TryAgainError(text, pause_s=pause_named_s(named))
        if status == 403 and named is None:
            raise ArchiveDownError(
                f"{text}: the archive is not served to this address; try again later, or through "
                "another one with HTTPS_PROXY"
            )
        if status in {403, 408} or status >= 500:
            raise _TryAgainError(text, pause_s=0.0 if named is None else pause_named_s(named))
        raise SourceError(text)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the archive client is not open")
        return self._session


def _sizes(response: aiohttp.ClientResponse) -> tuple[int | None, int]:
    """Return where the body begins in the file, if that is said, and the file's size or 0."""
    if response.status == 200:
        return 0, response.content_length or 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None, 0
    start, size = match.groups()
    return (None if start is None else int(start)), (0 if size == "*" else int(size))
