// What part of time and price the panes show. It moves in whole pixels, so nothing shimmers.

const MARGIN = 0.07; // of the width, free on the right of market time
const CANDLES_SHOWN = 170;
const FOLLOW_Y_MS = 260;
const HEADROOM = 1.15; // a new scale leaves this much more, so that the next one is far off
const ROOM = 1.2; // visible span over the span of prices in view
const LEAST_WINDOW = 0.16; // of the full one, while there is little history yet
const GROW_MS = 160;

export class Camera {
  constructor(spanMs) {
    this.width = 1;
    this.height = 1;
    this.ratio = 1;
    this.msPerPx = 0;
    this.start = 0;
    this.end = 1;
    this.bottom = 0;
    this.top = 1;
    this.minSpan = 0;
    this.reset(spanMs);
  }

  /** Go back to the default view of candles of `spanMs`. */
  reset(spanMs) {
    this.following = true;
    this.autoY = true;
    this.windowMs = spanMs * CANDLES_SHOWN;
    this.ownScale = true;
    this.restart();
  }

  /** History was replaced: fit what there is at once. */
  restart() {
    this.snapY = true;
    if (!this.ownScale) return;
    this.msPerPx = 0;
    this.growing = true;
  }

  resize(width, height, ratio) {
    if (width === this.width && height === this.height && ratio === this.ratio) return false;
    const middle = (this.top + this.bottom) / 2;
    const span = ((this.top - this.bottom) / this.height) * height;
    this.width = width;
    this.height = height;
    this.ratio = ratio;
    this.bottom = middle - span / 2;
    this.top = middle + span / 2;
    if (this.ownScale) this.growing = true;
    return true;
  }

  /** The person moved time: stay where they went. */
  takeX(start, end) {
    this.following = this.ownScale = this.growing = false;
    this.msPerPx = (end - start) / this.width;
    this.start = start;
    this.end = end;
  }

  /** The person moved price: keep their scale. */
  takeY(bottom, top) {
    this.autoY = false;
    this.span = undefined;
    this.bottom = bottom;
    this.top = top;
  }

  /** Move on; returns {x, y}, telling which axis moved. */
  update(nowMs, dtMs, candles) {
    const { start, end, bottom, top } = this;
    if (this.growing) this.grow(nowMs, dtMs, candles);
    if (this.following && Number.isFinite(nowMs)) {
      const unit = this.msPerPx / this.ratio;
      this.end = Math.round((nowMs + MARGIN * this.width * this.msPerPx) / unit) * unit;
      this.start = this.end - this.width * this.msPerPx;
    }
    if (this.autoY) this.followY(dtMs, candles);
    return { x: start !== this.start || end !== this.end, y: bottom !== this.bottom || top !== this.top };
  }

  // The window widens in steps as history fills it, so that a young market is not a thin line.
  grow(nowMs, dtMs, candles) {
    const known = candles.length > 0 && Number.isFinite(nowMs) ? nowMs - candles.ts[0] : 0;
    const wanted = Math.min(1, Math.max(LEAST_WINDOW, (1.2 * known) / this.windowMs));
    const full = this.windowMs / this.width;
    if (this.msPerPx === 0) {
      this.share = wanted;
      this.msPerPx = wanted * full;
    }
    if (wanted > this.share) this.share = Math.min(1, 1.4 * wanted);
    const goal = this.share * full;
    this.msPerPx *= (goal / this.msPerPx) ** (1 - Math.exp(-dtMs / GROW_MS));
    if (Math.abs(this.msPerPx / goal - 1) < 0.002) this.msPerPx = goal;
    this.growing = this.msPerPx !== full;
  }

  followY(dtMs, candles) {
    const [low, high] = extent(candles, this.start, this.end);
    if (!(low <= high)) return;
    const middle = (low + high) / 2;
    const wanted = Math.max((high - low) * ROOM, this.minSpan);
    let span = this.top - this.bottom;
    let centre = (this.top + this.bottom) / 2;
    if (this.snapY || Math.abs(middle - centre) > 1.5 * Math.max(span, wanted)) {
      span = this.span = wanted * HEADROOM;
      centre = middle;
      this.snapY = false;
    }
    // In one step: bubbles drawn for another scale are ovals for as long as a change takes.
    if (wanted > span * 1.02 || wanted < span * 0.6) this.span = wanted * HEADROOM;
    span = this.span ?? span;
    if (Math.abs(middle - centre) > span * 0.01) centre += (middle - centre) * (1 - Math.exp(-dtMs / FOLLOW_Y_MS));
    const unit = span / this.height / this.ratio;
    this.top = Math.round((centre + span / 2) / unit) * unit;
    this.bottom = this.top - span;
  }
}

/** Lowest and highest price of the candles between two times. */
export function extent(candles, start, end) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = Math.max(0, candles.slotAt(start) - 1); i < candles.length && candles.ts[i] <= end; i++) {
    if (candles.low[i] < low) low = candles.low[i];
    if (candles.high[i] > high) high = candles.high[i];
  }
  return [low, high];
}
