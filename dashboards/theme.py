"""Colours and type of the screen: one table for Bokeh's figures, the canvas and the style sheet."""

SANS = 'Inter, system-ui, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif'
MONO = (
    '"JetBrains Mono", ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", '
    '"Liberation Mono", monospace'
)

THEMES = {
    "dark": {
        "background": "#0a0d12",
        "panel": "#10151d",
        "raised": "#182030",
        "hairline": "#1b2330",
        "grid": "#141b26",
        "text": "#d6deeb",
        "dim": "#6b7a90",
        "faint": "#3a4657",
        "delta": "#5aa9ff",
        "attention": "#f2b84b",
        "own": "#ffffff",
        "own-outline": "#0a0d12",
        "shade": "rgba(10, 13, 18, 0.78)",
    },
    "light": {
        "background": "#fbfcfe",
        "panel": "#f1f4f9",
        "raised": "#e3e9f2",
        "hairline": "#d5dde8",
        "grid": "#e9eef5",
        "text": "#1a2433",
        "dim": "#66758a",
        "faint": "#a9b5c5",
        "delta": "#1f6fd0",
        "attention": "#b87a08",
        "own": "#111820",
        "own-outline": "#ffffff",
        "shade": "rgba(251, 252, 254, 0.82)",
    },
}

SIDES = {
    "dark": {
        "teal": {
            "buy": "#26c6a2",
            "buy-rim": "#78f0d2",
            "sell": "#ff5470",
            "sell-rim": "#ff96aa",
        },
        "blue": {
            "buy": "#4aa3ff",
            "buy-rim": "#a3d0ff",
            "sell": "#ff9f43",
            "sell-rim": "#ffd0a0",
        },
    },
    "light": {
        "teal": {
            "buy": "#0f9b7c",
            "buy-rim": "#0a6f59",
            "sell": "#e0314f",
            "sell-rim": "#a81832",
        },
        "blue": {
            "buy": "#1f78d8",
            "buy-rim": "#0f5299",
            "sell": "#e07b12",
            "sell-rim": "#a3560a",
        },
    },
}
"""The colours of the two aggressors; `blue` is for people who confuse red and green."""


def palette(theme: str, sides: str) -> dict[str, str]:
    """Return every colour by name, for one of `THEMES` and one of its `SIDES`."""
    return THEMES[theme] | SIDES[theme][sides]


def css_variables() -> str:
    """Return the style sheet that declares every colour for each theme and pair of sides."""
    rules = [f":root {{ --sans: {SANS}; --mono: {MONO}; }}"]
    for theme, pairs in SIDES.items():
        for sides in pairs:
            body = " ".join(f"--{name}: {value};" for name, value in palette(theme, sides).items())
            rules.append(f':root[data-theme="{theme}"][data-sides="{sides}"] {{ {body} }}')
    return "\n".join(rules)
