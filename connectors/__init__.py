"""The outside world of markets: protocols, clients, repair."""

if __name__ != "flowtape.connectors":
    raise ImportError("import flowtape.connectors, not connectors")
