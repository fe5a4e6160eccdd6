"""flowtape: record a market's tape, replay it, paper-trade on it, watch it in a browser."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("flowtape")
except PackageNotFoundError:  # a source checkout that was never installed
    __version__ = "0+source"

__all__ = ["__version__"]
