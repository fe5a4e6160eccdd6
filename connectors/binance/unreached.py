"""Why a host could not be reached, for people."""

import aiohttp


def why_unreached(error: aiohttp.ClientError, connect_s: float) -> str:
    """Return what kept a connection from being made; `connect_s` is how long that may take."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no answer within {connect_s:g} s"
        case aiohttp.ClientConnectorCertificateError():
            found = error.certificate_error
            said = getattr(found, "verify_message", None) or str(found)
            return f"its certificate is not trusted ({said})"
        case aiohttp.ClientProxyConnectionError():
            return f"no connection to the proxy {error.host}:{error.port}"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "connection refused"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or str(error.os_error)
    return str(error)
