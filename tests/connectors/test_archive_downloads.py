"""Files of an archive come whole, whatever happens on the way."""

import asyncio
import random
from datetime import date

import pytest

from flowtape.connectors.binance.archive import (
    ArchiveEntry,
)
from flowtape.connectors.binance.archive_client import (
    ATTEMPTS,
    PAUSE_S_MAX,
    ArchiveClient,
    ArchiveDownError,
    ArchiveTimes,
    MismatchError,
    NotServedError,
)
from flowtape.connectors.venue.archive_files import archive_zip
from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.stream.errors import InputError, SourceError
from tests.connectors.archive_bench import (
    BTC,
    FIRST_DAY,
    Fault,
    bench_of,
    day_trades,
    days,
)

ENTRY = ArchiveEntry("BTCUSDT", "spot", FIRST_DAY)


class Sleeper:
    """A clock that moves only when someone sleeps."""

    def __init__(self):
        self.now_us = 5_000_000
        self.slept = []

    def clock_us(self):
        return self.now_us

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_us += int(seconds * 1e6)
        await asyncio.sleep(0)


class Downloads:
    """A client of a bench, and what it reported."""

    def __init__(self, bench, folder, read_s=20.0):
        self.bench, self.folder = bench, folder
        self.sleeper = Sleeper()
        self.told = []
        self.progress = []
        self.client = ArchiveClient(
            bench.url,
            clock_us=self.sleeper.clock_us,
            rng=random.Random(3),
            sleep=self.sleeper.sleep,
            times=ArchiveTimes(connect_s=10.0, read_s=read_s),
            tell=self.told.append,
        )

    async def get(self, entry=ENTRY):
        sha256 = await self.client.checksum(entry)
        return await self.client.download(
            entry, sha256, self.folder, lambda *said: self.progress.append(said)
        )


@pytest.fixture
async def downloads(tmp_path):
    async with bench_of(days(3)) as bench:
        found = Downloads(bench, tmp_path / "downloads")
        async with found.client:
            yield found


def zip_of(day=FIRST_DAY, seed=0):
    entry = ArchiveEntry("BTCUSDT", "spot", day)
    return archive_zip(entry, BTC, day_trades(day, seed=seed))


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_a_file_comes_with_its_checksum_and_is_asked_for_once(downloads):
    path = await downloads.get()
    assert path.read_bytes() == zip_of()
    assert names(downloads.folder) == [ENTRY.name, f"{ENTRY.name}.CHECKSUM"]
    size = len(zip_of())
    assert downloads.progress[-1] == (ENTRY, size, size)
    assert await downloads.get() == path
    assert len(downloads.bench.requests(".zip")) == 1


@pytest.mark.parametrize("cut", [1, 3_000])
async def test_a_cut_download_goes_on_where_it_ended(cut, downloads):
    downloads.bench.faults = [Fault(".zip", cut=cut), Fault(".zip", cut=cut)]
    path = await downloads.get()
    assert path.read_bytes() == zip_of()
    asked = [one.range for one in downloads.bench.requests(".zip")]
    assert asked == ["", f"bytes={cut}-", f"bytes={2 * cut}-"]
    assert sum(one.sent_bytes for one in downloads.bench.requests(".zip")) == len(zip_of())
    assert names(downloads.folder) == [ENTRY.name, f"{ENTRY.name}.CHECKSUM"]


async def test_a_download_that_comes_on_may_break_often(downloads):
    downloads.bench.tree = ArchiveTree({BTC: lambda day: day_trades(day, rows=40_000)})
    downloads.bench.faults = [Fault(".zip", cut=70_000)] * (2 * ATTEMPTS)
    path = await downloads.get()
    assert path.read_bytes() == archive_zip(ENTRY, BTC, day_trades(FIRST_DAY, rows=40_000))
    asked = downloads.bench.requests(".zip")
    assert len(asked) == 2 * ATTEMPTS + 1
    assert sum(one.sent_bytes for one in asked) == path.stat().st_size


async def test_a_download_goes_on_in_another_process(downloads, tmp_path):
    downloads.bench.faults = [Fault(".zip", cut=3_000), *[Fault(".zip", status=500)] * 9]
    with pytest.raises(SourceError, match=f"answered 500 .*tried {ATTEMPTS} times"):
        await downloads.get()
    assert (downloads.folder / f"{ENTRY.name}.part").stat().st_size == 3_000
    downloads.bench.faults = []
    downloads.bench.asked.clear()
    again = Downloads(downloads.bench, downloads.folder)
    async with again.client:
        path = await again.get()
    assert path.read_bytes() == zip_of()
    (asked,) = downloads.bench.requests(".zip")
    assert (asked.range, asked.sent_bytes) == ("bytes=3000-", len(zip_of()) - 3_000)


async def test_a_stalled_download_is_cut_and_goes_on(downloads):
    downloads.bench.faults = [Fault(".zip", cut=3_000, stall=True)]
    hasty = Downloads(downloads.bench, downloads.folder, read_s=0.3)
    async with hasty.client:
        assert (await hasty.get()).read_bytes() == zip_of()
    asked = [one.range for one in downloads.bench.requests(".zip")]
    assert asked[:2] == ["", "bytes=3000-"]


@pytest.mark.parametrize("faulty", [False, True])
async def test_a_file_that_changed_meanwhile_begins_anew(faulty, downloads):
    """Also where the server goes on in the new file, which only its tag tells."""
    bench = downloads.bench
    bench.faults = [Fault(".zip", cut=3_000), *[Fault(".zip", status=500)] * 9]
    with pytest.raises(SourceError):
        await downloads.get()
    bench.tree = ArchiveTree({BTC: lambda day: day_trades(day, seed=9)})
    bench.faults = [Fault(".zip", ignore_if_range=True)] if faulty else []
    bench.asked.clear()
    assert (await downloads.get()).read_bytes() == zip_of(seed=9)
    ranges = [one.range for one in bench.requests(".zip")]
    assert ranges == (["bytes=3000-", ""] if faulty else ["bytes=3000-"])
    assert len(bench.requests(".CHECKSUM")) == 1


async def test_a_server_without_ranges_sends_all_again(downloads):
    downloads.bench.faults = [Fault(".zip", cut=3_000), Fault(".zip", ignore_range=True)]
    assert (await downloads.get()).read_bytes() == zip_of()
    asked = downloads.bench.requests(".zip")
    assert [(one.range, one.sent_bytes) for one in asked] == [
        ("", 3_000),
        ("bytes=3000-", len(zip_of())),
    ]


async def test_a_whole_part_is_not_asked_for_again(downloads):
    downloads.bench.faults = [Fault(".zip", cut=3_000), *[Fault(".zip", status=500)] * 9]
    with pytest.raises(SourceError):
        await downloads.get()
    (downloads.folder / f"{ENTRY.name}.part").write_bytes(zip_of())
    downloads.bench.faults = []
    downloads.bench.asked.clear()
    assert (await downloads.get()).read_bytes() == zip_of()
    (asked,) = downloads.bench.requests(".zip")
    assert asked.status == 416


async def test_one_wrong_download_is_made_good(downloads):
    downloads.bench.faults = [Fault(".zip", spoil=True)]
    assert (await downloads.get()).read_bytes() == zip_of()
    assert [one.range for one in downloads.bench.requests(".zip")] == ["", ""]


async def test_a_stale_checksum_is_asked_for_again(downloads):
    await downloads.client.download(ENTRY, "0" * 64, downloads.folder, lambda *_: None)
    assert (downloads.folder / ENTRY.name).read_bytes() == zip_of()
    assert [one.path[-4:] for one in downloads.bench.asked] == [".zip", "KSUM", ".zip"]


async def test_a_page_of_html_is_no_checksum(downloads):
    downloads.bench.faults = [Fault(".CHECKSUM", junk=True)]
    assert (await downloads.get()).read_bytes() == zip_of()
    downloads.bench.faults = [Fault(".CHECKSUM", junk=True)] * ATTEMPTS
    with pytest.raises(SourceError, match="holds no SHA-256; tried 5 times"):
        await downloads.get()


async def test_a_file_that_is_wrong_twice_is_put_aside(downloads):
    downloads.bench.faults = [Fault(".zip", spoil=True), Fault(".zip", spoil=True)]
    with pytest.raises(MismatchError, match=r"twice; try again .* import .*quarantine") as caught:
        await downloads.get()
    assert "\n" not in str(caught.value)
    assert names(downloads.folder) == [ENTRY.name]
    kept = downloads.folder / "quarantine" / ENTRY.name
    assert kept.is_file()
    assert str(kept) in str(caught.value)
    assert (await downloads.get()).read_bytes() == zip_of()


async def test_what_is_not_there_is_not_asked_for_twice(downloads):
    with pytest.raises(NotServedError, match="is not there"):
        await downloads.get(ArchiveEntry("BTCUSDT", "spot", date(2026, 2, 1)))
    assert len(downloads.bench.asked) == 1


@pytest.mark.parametrize("status", [408, 500, 503])
async def test_passing_faults_are_waited_out_with_jitter(status, downloads):
    downloads.bench.faults = [Fault(".CHECKSUM", status=status), Fault(".zip", status=status)]
    assert (await downloads.get()).read_bytes() == zip_of()
    assert len(downloads.sleeper.slept) == 2
    assert all(0 <= slept <= 0.5 for slept in downloads.sleeper.slept)


@pytest.mark.parametrize("status", [403, 418, 429, 503])
async def test_a_named_pause_holds_for_everything(status, downloads):
    bench = downloads.bench
    bench.faults = [Fault("01.zip", status=status, retry_after_s=7)]
    began_us = downloads.sleeper.now_us
    await downloads.get()
    assert downloads.sleeper.now_us - began_us >= 7_000_000
    (line,) = downloads.told
    assert f"answered {status}" in line
    assert "waiting 7 s" in line
    bench.faults = [Fault("02.zip", status=status, retry_after_s=int(PAUSE_S_MAX) + 1)]
    with pytest.raises(ArchiveDownError, match="wants a pause of 181 s"):
        await downloads.get(ArchiveEntry("BTCUSDT", "spot", date(2026, 1, 2)))


async def test_a_refusal_without_a_pause_is_final(downloads):
    downloads.bench.faults = [Fault(".CHECKSUM", status=403)]
    with pytest.raises(ArchiveDownError, match=r"403 Forbidden: .*HTTPS_PROXY"):
        await downloads.get()
    assert len(downloads.bench.asked) == 1


async def test_an_archive_that_cannot_be_reached_is_told_at_once(tmp_path):
    async with bench_of(days(1)) as bench:
        pass
    gone = Downloads(bench, tmp_path)
    async with gone.client:
        with pytest.raises(ArchiveDownError, match=r"cannot reach .*connection refused"):
            await gone.get()
    assert gone.sleeper.slept == []
    assert not list(tmp_path.iterdir())


async def test_a_server_that_never_answers_is_no_archive(tmp_path):
    async def hang_up(_reader, writer):
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, bench_of(days(1)) as bench:
        bench.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        mute = Downloads(bench, tmp_path)
        async with mute.client:
            with pytest.raises(ArchiveDownError, match=f"broke off .*tried {ATTEMPTS} times"):
                await mute.get()


async def test_a_disk_that_takes_nothing_is_named(downloads, tmp_path):
    downloads.folder = tmp_path / "downloads-file" / "folder"
    (tmp_path / "downloads-file").write_text("")
    with pytest.raises(InputError, match=r"downloads-file.* cannot be (written|read)"):
        await downloads.get()
