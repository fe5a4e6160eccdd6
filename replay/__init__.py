"""The past: tape store, import and doctor, pacing and seeking, batch backtests."""

if __name__ != "flowtape.replay":
    raise ImportError("import flowtape.replay, not replay")
