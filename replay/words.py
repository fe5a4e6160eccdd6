"""Counts in words, for people."""


def counted(count: int, thing: str) -> str:
    """Return `1 trade`, `2 trades`, `1,500 trades`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
