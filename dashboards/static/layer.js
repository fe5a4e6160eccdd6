// The browser's half of figures.PaintLayer: a Bokeh renderer that calls one of our painters.

const painters = new Map();

/** Have `paint(ctx, frame)` draw the layers called `name`; `frame` is the figure's inner box. */
export function setPainter(name, paint) {
  painters.set(name, paint);
}

export function registerLayer(Bokeh) {
  const { Renderer, RendererView } = Bokeh.require("models/renderers/renderer");

  class PaintLayerView extends RendererView {
    update_position() {} // nothing of ours lies in the DOM

    _paint(ctx) {
      const paint = painters.get(this.model.painter);
      if (paint === undefined) return;
      const { left, top, width, height } = this.plot_view.frame.bbox;
      ctx.save();
      // Bokeh shifts its canvas by half a pixel; ours are whole ones.
      const ratio = this.plot_view.canvas_view.pixel_ratio;
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      paint(ctx, { left, top, width, height, ratio });
      ctx.restore();
    }
  }

  class PaintLayer extends Renderer {}
  PaintLayer.__module__ = "flowtape.dashboards.figures";
  PaintLayer.__name__ = "PaintLayer";
  PaintLayer.prototype.default_view = PaintLayerView;
  PaintLayer.define(({ Str }) => ({ painter: [Str, ""] }));
  Bokeh.require("base").register_models({ PaintLayer });
}
