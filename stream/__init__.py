"""The pipeline: vocabulary, kernel records, engine, strategy protocol, views."""

if __name__ != "flowtape.stream":
    raise ImportError("import flowtape.stream, not stream")
