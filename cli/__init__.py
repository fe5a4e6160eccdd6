"""The command line: parses and wires, no logic."""

if __name__ != "flowtape.cli":
    raise ImportError("import flowtape.cli, not cli")
