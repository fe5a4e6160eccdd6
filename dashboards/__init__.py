"""What people look at: Bokeh server app, canvas layer, theme."""

if __name__ != "flowtape.dashboards":
    raise ImportError("import flowtape.dashboards, not dashboards")
