"""The report of a finished session: one self-contained HTML page."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.models import (
    ColumnDataSource,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure
from bokeh.resources import Resources
from numpy.typing import NDArray

from flowtape.dashboards.theme import MONO, SANS, palette
from flowtape.stream.config import money_decimals
from flowtape.stream.instrument import Instrument
from flowtape.stream.ledger import Ledger
from flowtape.stream.records import i128_float

POINTS_MAX = 4_000

_ROWS = (
    ("net_pnl", "Net P&L"),
    ("net_pnl_optimistic", "P&L optimistic"),
    ("net_pnl_pessimistic", "P&L pessimistic"),
    ("total_return", "Return"),
    ("max_drawdown", "Max drawdown"),
    ("sharpe", "Sharpe (annualised)"),
    ("final_equity", "Final equity"),
    ("fees", "Fees"),
    ("fill_count", "Fills"),
    ("round_trips", "Round trips"),
    ("win_rate", "Win rate"),
    ("profit_factor", "Profit factor"),
    ("average_trip", "Average trip"),
    ("volume", "Volume traded"),
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FRACTIONS = {"total_return", "max_drawdown", "win_rate"}

_NOTE = (
    "Fills come from trades alone. Every order is settled under three sets of assumptions about "
    "the queue ahead of it and its share of each print; the curve is the base lane, the band the "
    "optimistic and the pessimistic one. Own orders together never get more than a print's "
    "quantity."
)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
{resources}
<style>
 :root {{ color-scheme: dark; }}
 body {{ margin: 0; background: {background}; color: {text}; font: 14px/1.45 {sans}; }}
 main {{ max-width: 1180px; margin: 0 auto; padding: 28px 24px 40px; }}
 h1 {{ font-size: 20px; font-weight: 600; margin: 0 0 2px; }}
 p {{ color: {dim}; margin: 0 0 18px; }}
 .tiles {{ display: grid; gap: 8px;
   grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); }}
 .tile {{ padding: 9px 12px; border-radius: 6px;
   background: {panel}; border: 1px solid {hairline}; }}
 .tile b {{ display: block; font: 600 16px/1.3 {mono}; font-variant-numeric: tabular-nums; }}
 .tile span, h2 {{ color: {dim}; font-size: 10px; font-weight: 600; letter-spacing: .09em;
   text-transform: uppercase; }}
 h2 {{ margin: 26px 0 6px; }}
 .up {{ color: {buy}; }} .down {{ color: {sell}; }}
 code {{ font-family: {mono}; font-size: 11px; overflow-wrap: anywhere; }}
</style></head><body><main>
<h1>{heading}</h1><p>{subtitle}</p>
<div class="tiles">{tiles}</div>
{charts}
<h2>How the fills were made</h2><p>{note}</p>
<h2>Digest</h2><p><code>{digest}</code></p>
{script}
</main></body></html>
"""


def tearsheet(
    instruments: Sequence[Instrument], ledger: Ledger, metrics: Mapping[str, Any], bar_us: int
) -> str:
    """Return the page for a finished session.

    `metrics` holds what `metrics.json` holds; `bar_us` is the span of the ledger's bars.
    """
    colours = palette("dark", "teal")
    atom = 10.0 ** -money_decimals(*instruments)
    figures = {
        "Equity": _equity(ledger, atom, colours),
        "Drawdown": _drawdown(ledger, atom, colours),
    }
    for number, one in enumerate(instruments):
        name = "Price and fills" if len(instruments) == 1 else f"{one.symbol} and fills"
        figures[name] = _price(one, number, ledger, bar_us, colours)
    span_ms = Range1d(_ms(metrics["start_us"]), _ms(metrics["end_us"]))
    for plot in figures.values():
        plot.x_range = span_ms
    script, divs = components(figures)
    title = f"{metrics['strategy']} on {', '.join(one.symbol for one in instruments)}"
    settings = ", ".join(f"{k} = {v}" for k, v in metrics["parameters"].items())
    span = f"{_moment(metrics['start_us'])} to {_moment(metrics['end_us'])} UTC"
    subtitle = (
        f"{span} · {metrics['trade_count']:,} trades · latency {metrics['latency_us']:,} µs · "
        f"fees {metrics['maker_fee_ppm']}/{metrics['taker_fee_ppm']} ppm · {settings}"
    )
    if "liquidation_and_funding" in metrics:
        subtitle += f" · liquidation and funding {metrics['liquidation_and_funding']}"
    charts = "".join(f"<h2>{html.escape(name)}</h2>{div}" for name, div in divs.items())
    page = _PAGE.format(
        title=html.escape(title),
        heading=html.escape(title),
        subtitle=html.escape(subtitle),
        resources=Resources(mode="inline", components=["bokeh"]).render(),
        tiles="".join(_tile(label, key, metrics[key]) for key, label in _ROWS),
        charts=charts,
        note=_NOTE,
        digest=html.escape(str(metrics["digest"])),
        script=script,
        sans=SANS,
        mono=MONO,
        **{name: colours[name] for name in ("background", "text", "dim", "panel", "hairline")},
        buy=colours["buy"],
        sell=colours["sell"],
    )
    # Bokeh draws its ids by lot; equal sessions shall have equal reports.
    ids: dict[str, str] = {}
    return _UUID.sub(lambda found: ids.setdefault(found.group(), f"figure-{len(ids)}"), page)


def _tile(label: str, key: str, value: object) -> str:
    text = "-" if value is None else str(value)
    tone = ""
    if key in _FRACTIONS and isinstance(value, float):
        text = f"{value:.2%}"
    elif isinstance(value, float):
        text = f"{value:,.2f}"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, str):
        text = f"{float(value):,.2f}"
    if key in ("net_pnl", "total_return") and text.strip("0.,%+-"):
        tone = ' class="down"' if text.startswith("-") else ' class="up"'
    return f'<div class="tile"><span>{html.escape(label)}</span><b{tone}>{text}</b></div>'


def _moment(ts_us: int) -> str:
    return str(np.datetime64(ts_us, "us").astype("datetime64[s]")).replace("T", " ")


def _ms(ts_us: int) -> float:
    return ts_us / 1e3


def _thinned(count: int) -> NDArray[np.int64]:
    """Rows of a line of `count` points that a screen can tell apart, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS_MAX)).astype(np.int64))


def _curve(
    ledger: Ledger, atom: float, lane: str = "equity"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = ledger.equity.all()
    return points["ts_us"] / 1e3, i128_float(points[f"{lane}_atoms"]) * atom


def _equity(ledger: Ledger, atom: float, colours: Mapping[str, str]) -> figure:
    ts_ms, equity = _curve(ledger, atom)
    plot = _figure(colours, height=240)
    rows = _thinned(len(equity))
    lanes = [equity] + [_curve(ledger, atom, lane)[1] for lane in ("optimistic", "pessimistic")]
    low, high = np.minimum.reduce(lanes), np.maximum.reduce(lanes)
    source = ColumnDataSource(
        {"ts": ts_ms[rows], "equity": equity[rows], "low": low[rows], "high": high[rows]}
    )
    plot.varea("ts", "low", "high", source=source, fill_color=colours["delta"], fill_alpha=0.16)
    plot.line("ts", "equity", source=source, color=colours["delta"], line_width=1.6)
    plot.add_tools(
        HoverTool(
            tooltips=[
                ("time", "@ts{%F %T}"),
                ("equity", "@equity{0,0.00}"),
                ("band", "@low{0,0.00} to @high{0,0.00}"),
            ],
            formatters={"@ts": "datetime"},
            mode="vline",
        )
    )
    return plot


def _drawdown(ledger: Ledger, atom: float, colours: Mapping[str, str]) -> figure:
    ts_ms, equity = _curve(ledger, atom)
    plot = _figure(colours, height=120)
    falls = equity / np.maximum.accumulate(equity) - 1
    rows = _thinned(len(falls))
    plot.varea(ts_ms[rows], 0, falls[rows], color=colours["sell"], alpha=0.35)
    plot.yaxis.formatter = NumeralTickFormatter(format="0.00%")
    return plot


def _price(
    instrument: Instrument, number: int, ledger: Ledger, bar_us: int, colours: Mapping[str, str]
) -> figure:
    scale = 10.0**instrument.price_decimals
    bars, fills = ledger.markets[number].bars.all(), ledger.fills.all()
    fills = fills[fills["market"] == number]
    plot = _figure(colours, height=320)
    if len(bars):
        rows = _thinned(len(bars))
        ts_ms = (bars["ts_us"][rows] + bar_us) / 1e3
        plot.line(ts_ms, bars["close_ticks"][rows] / scale, color=colours["dim"], line_width=1)
    for side, marker, colour in ((1, "triangle", "buy"), (-1, "inverted_triangle", "sell")):
        own = fills[fills["side"] == side]
        own = own[_thinned(len(own))] if len(own) else own
        plot.scatter(
            own["ts_us"] / 1e3,
            own["price_ticks"] / scale,
            marker=marker,
            size=8,
            color=colours[colour],
            line_color=colours["own-outline"],
        )
    return plot


def _figure(colours: Mapping[str, str], *, height: int) -> figure:
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        tools="xpan,xwheel_zoom,box_zoom,reset",
        toolbar_location="above",
        min_border_left=74,
        background_fill_color=colours["background"],
        border_fill_color=colours["background"],
        outline_line_color=colours["hairline"],
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.grid.grid_line_color = colours["grid"]
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = colours["hairline"]
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = colours["dim"]
        axis.major_label_text_font_size = "11px"
    plot.xaxis.formatter = DatetimeTickFormatter(
        seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M"
    )
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00000000]")
    return plot
