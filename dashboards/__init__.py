"""What people look at and trade on: Bokeh server app, canvas layer, order ticket, theme."""

if __name__ != "flowtape.dashboards":
    raise ImportError("import flowtape.dashboards, not dashboards")
