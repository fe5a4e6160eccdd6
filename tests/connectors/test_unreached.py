import errno
import random
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from flowtape.connectors.binance.client import monotonic_us
from flowtape.connectors.binance.markets import SPOT
from flowtape.connectors.binance.rest import RestClient
from flowtape.connectors.binance.unreached import why_unreached
from flowtape.stream.errors import SourceError

KEY = ConnectionKey("api.example", 443, True, True, None, None, None)
UNTRUSTED = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify")
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (aiohttp.ConnectionTimeoutError(), "no answer within 7 s"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, UNTRUSTED),
            "its certificate is not trusted (self-signed certificate)",
        ),
        (
            aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError()),
            "no connection to the proxy api.example:443",
        ),
        (
            aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(errno.ECONNREFUSED, "no")),
            "connection refused",
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "No route to host")),
            "No route to host",
        ),
        (aiohttp.ClientError("something else"), "something else"),
    ],
)
def test_every_reason_is_said(error: aiohttp.ClientError, why: str) -> None:
    assert why_unreached(error, 7.0) == why


async def test_an_untrusted_certificate_is_said_of_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise aiohttp.ClientConnectorCertificateError(KEY, UNTRUSTED)

    monkeypatch.setattr(aiohttp.ClientSession, "get", refuse)
    async with RestClient(
        SPOT, "https://api.example", clock_us=monotonic_us, rng=random.Random(1)
    ) as client:
        with pytest.raises(SourceError, match=r"cannot reach https://api.example: its certificate"):
            await client.instrument("BTCUSDT")
