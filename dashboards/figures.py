"""The Bokeh document of one screen: figures, axes and ranges; the marks are painted in the browser.

Every figure holds one `PaintLayer`, a renderer whose other half is `static/layer.js`. Ranges are
not synchronised: the browser moves them on every frame and the server has no use for them.
"""

from bokeh.core.properties import String
from bokeh.document import Document
from bokeh.models import (
    DatetimeTickFormatter,
    NumeralTickFormatter,
    PanTool,
    Range1d,
    Renderer,
    WheelZoomTool,
)
from bokeh.plotting import figure

from flowtape.dashboards.theme import MONO, palette

AXIS_WIDTH_PX = 84
EDGE_PX = 7  # half a line of an axis label
PANES = ("price", "delta", "volume", "profile")

_COLOURS = palette("dark", "teal")
_TIMES = {
    "microseconds": "%H:%M:%S.%3N",
    "milliseconds": "%H:%M:%S.%3N",
    "seconds": "%H:%M:%S",
    "minsec": "%H:%M:%S",
    "minutes": "%H:%M",
    "hourmin": "%H:%M",
    "hours": "%H:%M",
    "days": "%d %b",
    "months": "%b %Y",
    "years": "%Y",
}


class PaintLayer(Renderer):
    """A layer whose marks are painted by the browser's painter called `painter`."""

    painter = String()


def fill_document(document: Document) -> None:
    """Add the figures of `PANES` as roots named like their panes."""
    document.title = "flowtape"
    document.config.reconnect_session = False
    document.config.notify_connection_status = False
    x_range = Range1d(start=0, end=900_000, syncable=False)
    price_range = Range1d(start=0, end=1, syncable=False)
    flat_range = Range1d(start=0, end=1, syncable=False)
    ranges = {
        "price": (x_range, price_range),
        "delta": (x_range, Range1d(start=-1, end=1, syncable=False)),
        "volume": (x_range, Range1d(start=0, end=1, syncable=False)),
        "profile": (flat_range, price_range),
    }
    for pane in PANES:
        document.add_root(_pane(pane, *ranges[pane]))


def _pane(pane: str, x_range: Range1d, y_range: Range1d) -> figure:
    is_profile = pane == "profile"
    plot = figure(
        name=pane,
        x_range=x_range,
        y_range=y_range,
        x_axis_type=None if is_profile else "datetime",
        y_axis_location="right",
        toolbar_location=None,
        tools=[],
        sizing_mode="stretch_both",
        min_border_left=0,
        min_border_top=EDGE_PX,
        min_border_right=0 if is_profile else AXIS_WIDTH_PX,
        min_border_bottom=24 if pane == "volume" else EDGE_PX,
        lod_threshold=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        syncable=False,
    )
    pan = PanTool(dimensions="width", name="pan", syncable=False)
    zoom = WheelZoomTool(
        dimensions="height" if is_profile else "width", name="zoom", syncable=False
    )
    plot.add_tools(pan, zoom)
    plot.toolbar.active_drag = None if is_profile else pan
    plot.toolbar.active_scroll = zoom
    plot.renderers.append(PaintLayer(painter=pane, level="glyph", syncable=False))
    if pane == "price":
        plot.renderers.append(PaintLayer(painter="tags", level="annotation", syncable=False))
    plot.grid.grid_line_color = _COLOURS["grid"]
    for axis in plot.axis:
        axis.axis_line_color = None
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.major_label_text_color = _COLOURS["dim"]
        axis.major_label_text_font = MONO
        axis.major_label_text_font_size = "11px"
        axis.major_label_standoff = 8
    plot.yaxis.visible = not is_profile
    plot.yaxis.ticker.desired_num_ticks = 3 if pane in {"delta", "volume"} else 12
    if not is_profile:
        plot.xaxis.visible = pane == "volume"
        plot.xaxis.formatter = DatetimeTickFormatter(**_TIMES)
        plot.xaxis.ticker.desired_num_ticks = 12
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0" if pane == "price" else "0.[0]a")
    return plot
