// One screen: what it shows, how it is looked at, and the loop that puts it on the glass.

import { BubbleScale } from "./bubble_scale.js";
import { BubbleTiles } from "./bubble_tiles.js";
import { Camera } from "./camera.js";
import { MarketClock } from "./clock.js";
import { lowerBound } from "./columns.js";
import { wireControls, wireRanges } from "./controls.js";
import { flowPainters, profileRows, valueArea } from "./flow_panes.js";
import { decode } from "./frame.js";
import { short } from "./format.js";
import { Header } from "./header.js";
import { Hover } from "./hover.js";
import { setPainter } from "./layer.js";
import { LookBack } from "./look_back.js";
import { preference, setPreference } from "./preferences.js";
import { largeEnough, pricePainters } from "./price_pane.js";
import { ReplayBar } from "./replay_bar.js";
import { Stats } from "./stats.js";
import { Store } from "./store.js";
import { Tape } from "./tape.js";
import { Theme } from "./theme.js";
import { Ticket } from "./ticket.js";

const SPANS = { "1s": 1e3, "5s": 5e3, "15s": 15e3, "1m": 6e4, "5m": 3e5, "15m": 9e5 };
const FILTERS = [["all", 0], ["top 25%", 0.75], ["top 10%", 0.9], ["top 1%", 0.99]];
const SLOW_MS = 100;
const ADAPT_MS = 1000;
const byId = (id) => document.getElementById(id);

export class Screen {
  constructor(boot, link, views) {
    this.boot = boot;
    this.link = link;
    this.views = views;
    this.theme = new Theme(boot.themes);
    this.spanName = preference("span", Object.keys(SPANS), "5s");
    this.showBubbles = true;
    this.filter = 0;
    this.readout = "";
    this.large = [];
    this.dirty = true;
    this.profileDirty = true;
    this.ranges = { delta: { start: -1, end: 1 }, volume: { start: 0, end: 1 } };
    this.deltaPeak = 1;
    this.valueArea = { poc: NaN, low: NaN, high: NaN };
    this.feedIndex = 0;
    this.stats = new Stats();
    this.clock = new MarketClock();
    this.store = new Store(SPANS[this.spanName]);
    this.store.reset(boot.feeds[0]);
    this.camera = new Camera(SPANS[this.spanName]);
    this.scale = new BubbleScale();
    this.tiles = new BubbleTiles(this.store, this.scale);
    this.mono = getComputedStyle(document.documentElement).getPropertyValue("--mono");
    this.header = new Header(this);
    this.tape = new Tape(byId("rows"), this.store, this.scale);
    this.bar = new ReplayBar(this);
    this.lookBack = new LookBack(this);
    this.ticket = new Ticket(this);
    this.hover = new Hover(this);
    const painters = { ...pricePainters(this), ...flowPainters(this) };
    for (const [name, paint] of Object.entries(painters)) setPainter(name, paint);
    wireRanges(this);
    wireControls(this, Object.keys(SPANS));
    this.setSpan(this.spanName);
    link.on("frame", (data) => this.take(data));
    link.on("note", (text) => this.note(JSON.parse(text)));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.link.hello(this.feedIndex);
    });
  }

  get colours() {
    return this.theme.colours;
  }

  start() {
    Object.values(this.views).forEach(quieten);
    this.theme.apply(this.views);
    this.select(0);
    this.lastMs = performance.now();
    this.lastSlowMs = this.lastAdaptMs = 0;
    const presented = new MessageChannel();
    presented.port1.onmessage = () => {
      if (this.store.header !== null) this.link.ack(this.store.header.seq);
    };
    const loop = (ms) => {
      requestAnimationFrame(loop);
      this.frame(ms);
      presented.port2.postMessage(null);
    };
    requestAnimationFrame(loop);
  }

  /** Show one of the feeds. */
  select(index) {
    this.feedIndex = index;
    const feed = this.boot.feeds[index];
    this.store.reset(feed);
    this.scale.clear();
    this.bar.setOverview();
    this.ticket.select(feed);
    this.camera.reset(SPANS[this.spanName]);
    this.camera.minSpan = 24 * this.store.tick;
    const digits = feed.price_decimals === 0 ? "" : `.${"0".repeat(feed.price_decimals)}`;
    for (const axis of this.views.price.model.right) axis.formatter.setv({ format: `0,0${digits}` }, { sync: false });
    [...byId("symbols").children].forEach((button, i) => button.classList.toggle("on", i === index));
    document.title = `${feed.symbol} · flowtape`;
    this.link.hello(index);
  }

  // A frame that cannot be read must not leave the screen dark for ever: ask for a fresh start.
  take(data) {
    try {
      this.receive(data);
    } catch (error) {
      console.error(error);
      setTimeout(() => this.link.hello(this.feedIndex), 1000);
    }
  }

  receive(data) {
    const frame = decode(data, this.boot.layout);
    if (frame.header.feed !== this.feedIndex) return;
    const known = this.store.bubbles.end;
    this.store.apply(frame);
    const { header } = frame;
    this.clock.sample(header, performance.now());
    const { bubbles } = this.store;
    if (header.restart) {
      this.scale.clear();
      this.large = [];
      this.camera.restart();
    }
    this.scale.learn(bubbles, (header.restart ? 0 : known) - bubbles.base, bubbles.length);
    if (header.restart) this.adaptScale();
    this.collectLarge(header.restart ? bubbles.base : known);
    if (header.with_profile) {
      this.valueArea = valueArea(this.store.profile);
      this.profileDirty = true;
    }
    this.stats.received(header, data.byteLength);
    this.dirty = true;
  }

  note({ kind, content }) {
    if (kind === "overview" && content.feed === this.feedIndex) this.bar.setOverview(content);
    if (kind === "refused") this.toast(content);
    if (kind === "order_done" || kind === "order_refused") this.ticket.answered(kind, content);
  }

  frame(ms) {
    const dt = Math.min(1000, ms - this.lastMs);
    this.lastMs = ms;
    const { camera, store } = this;
    const box = this.views.price.frame.bbox;
    if (box.width < 20 || box.height < 20) return;
    const resized = camera.resize(Math.round(box.width), Math.round(box.height), devicePixelRatio);
    this.clock.advance(ms, dt);
    const moved = camera.update(this.clock.now, dt, store.candles);
    const began = performance.now();
    const paints = this.dirty || resized || moved.x || moved.y || this.tiles.pending;
    if (paints) this.paint(moved, resized);
    this.hover.update();
    if (ms - this.lastAdaptMs > ADAPT_MS) {
      this.lastAdaptMs = ms;
      this.adaptScale();
    }
    if (ms - this.lastSlowMs > SLOW_MS) {
      this.lastSlowMs = ms;
      this.slow();
    }
    this.stats.framed(dt, performance.now() - began, paints, this);
  }

  paint(moved, resized) {
    const { camera } = this;
    const { price, delta, volume, profile } = this.views;
    price.model.x_range.setv({ start: camera.start, end: camera.end }, { silent: true });
    price.model.y_range.setv({ start: camera.bottom, end: camera.top }, { silent: true });
    this.fitRanges();
    const panes = this.dirty || resized || moved.x ? [price, delta, volume] : [price];
    if (moved.y || resized || this.profileDirty) panes.push(profile);
    this.dirty = this.profileDirty = false;
    for (const view of panes) {
      clearEdges(view.canvas_view.primary);
      view.invalidate_painters(view.model.renderers[0]);
      view.paint();
    }
  }

  // Scales of the lower panes: enlarged at once, shrunk only when much room is left.
  fitRanges() {
    const { camera, ranges, views } = this;
    const { ts, buy, sell, cum, length } = this.store.candles;
    let [low, high, top, peak] = [Infinity, -Infinity, 0, 0];
    for (let i = Math.max(0, lowerBound(ts, length, camera.start) - 1); i < length && ts[i] <= camera.end; i++) {
      low = Math.min(low, cum[i]);
      high = Math.max(high, cum[i]);
      top = Math.max(top, buy[i] + sell[i]);
      peak = Math.max(peak, Math.abs(buy[i] - sell[i]));
    }
    if (high < low) return;
    this.deltaPeak = peak > this.deltaPeak || peak < 0.5 * this.deltaPeak ? peak * 1.1 || 1 : this.deltaPeak;
    const span = Math.max(high - low, peak, 1e-9);
    const d = ranges.delta;
    const edge = 0.04 * (d.end - d.start);
    if (low < d.start + edge || high > d.end - edge || span < 0.45 * (d.end - d.start)) {
      d.start = (low + high) / 2 - 0.68 * span;
      d.end = d.start + 1.36 * span;
      views.delta.model.y_range.setv(d, { silent: true });
    }
    const v = ranges.volume;
    if (top > v.end || top < 0.5 * v.end) {
      v.end = top * 1.15 || 1;
      views.volume.model.y_range.setv(v, { silent: true });
    }
  }

  slow() {
    this.header.update();
    this.tape.update();
    this.bar.update();
    this.lookBack.update();
    this.ticket.update();
    const { camera } = this;
    byId("live").hidden = camera.following || this.store.header === null;
    byId("readout").textContent = this.readout;
    byId("toggle-auto").classList.toggle("on", camera.autoY);
    byId("toggle-bubbles").classList.toggle("on", this.showBubbles);
    const { model } = this.views.price;
    const pan = model.toolbar.tools.find((tool) => tool.name === "pan");
    const dimensions = camera.autoY ? "width" : "both";
    if (pan.dimensions !== dimensions) pan.setv({ dimensions }, { sync: false });
  }

  // Sizes follow the market in steps; a step draws all bubbles anew.
  adaptScale() {
    const { camera, store } = this;
    const visible = store.bubbles.slotAt(camera.end) - store.bubbles.slotAt(camera.start);
    const wanted = this.filter === 0 ? 0 : this.scale.quantile(FILTERS[this.filter][1]);
    if (!(Math.abs(wanted / this.tiles.minQty - 1) < 0.3) && wanted !== this.tiles.minQty) this.setMinQty(wanted);
    if (!this.scale.adapt(visible)) return;
    this.tiles.invalidate();
    this.large = [];
    this.collectLarge(store.bubbles.base);
    this.legend();
    this.dirty = true;
  }

  collectLarge(from) {
    const { base, qty, length } = this.store.bubbles;
    if (this.large.length > 4000) this.large.splice(0, 2000);
    for (let slot = Math.max(0, from - base); slot < length; slot++) {
      if (largeEnough(this.scale.radius(qty[slot]))) this.large.push(slot + base);
    }
  }

  legend() {
    const parts = [];
    for (const px of [4, 9, 16]) {
      const circle = document.createElement("i");
      const qty = nice(this.scale.quantityAt(px));
      const size = 2 * this.scale.radius(qty);
      circle.style.width = circle.style.height = `${size}px`;
      const text = document.createElement("span");
      text.textContent = short(qty);
      parts.push(circle, text);
    }
    byId("sizes").replaceChildren(...parts);
  }

  profileRows(frame, rowPx) {
    const { header, profile, tick } = this.store;
    const step = header === null ? 0 : header.profile_row * tick;
    const rows = step > 0 ? profileRows(profile, step, this.camera, frame.height, rowPx) : null;
    return { rows, low: this.valueArea.low, high: this.valueArea.high };
  }

  /** The inner box of a pane's figure in page coordinates. */
  frameOf(pane) {
    const view = this.views[pane];
    const outer = view.canvas_view.el.getBoundingClientRect();
    const { left, top, width, height } = view.frame.bbox;
    return { left: outer.left + left, top: outer.top + top, width, height };
  }

  takeX(start, end) {
    this.camera.takeX(start, end);
    this.dirty = true;
  }

  takeY(bottom, top) {
    this.camera.takeY(bottom, top);
    this.dirty = this.profileDirty = true;
  }

  setSpan(name) {
    this.spanName = name;
    setPreference("span", name);
    this.store.setSpan(SPANS[name]);
    const { following } = this.camera;
    if (following) this.camera.reset(SPANS[name]);
    byId("price-title").textContent = `Price · ${name} candles`;
    [...byId("spans").children].forEach((chip) => chip.classList.toggle("on", chip.textContent === name));
    this.dirty = true;
  }

  resetView() {
    this.camera.reset(SPANS[this.spanName]);
    this.dirty = this.profileDirty = true;
  }

  follow() {
    this.camera.following = true;
    this.dirty = true;
  }

  toggleAuto() {
    this.camera.autoY = !this.camera.autoY;
    this.dirty = true;
  }

  toggleBubbles() {
    this.showBubbles = !this.showBubbles;
    this.dirty = true;
  }

  nextFilter() {
    this.filter = (this.filter + 1) % FILTERS.length;
    const [name, share] = FILTERS[this.filter];
    this.setMinQty(share === 0 ? 0 : this.scale.quantile(share) || 0);
    byId("filter").textContent = share === 0 ? name : `${name} ≥ ${short(this.tiles.minQty)}`;
  }

  setMinQty(qty) {
    this.tiles.minQty = this.tape.minQty = qty;
    this.tiles.invalidate();
    this.dirty = true;
  }

  cycleTheme(what) {
    this.theme.cycle(what);
    this.theme.apply(this.views);
    this.tiles.invalidate();
    this.dirty = this.profileDirty = true;
  }

  toggleHelp() {
    byId("help").hidden = !byId("help").hidden;
  }

  closeOverlays() {
    byId("help").hidden = true;
    document.body.classList.remove("drawer");
  }

  toast(text, tone = "") {
    const toast = byId("toast");
    toast.textContent = text;
    toast.className = tone;
    toast.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => { toast.hidden = true; }, 5000);
  }
}

// Bokeh rewrites a style sheet for every axis and grid at every paint, to place DOM parts that these
// have not; the recalculation of styles this forces costs more than all our bubbles.
function quieten(view) {
  view.canvas_view.events_el.style.outline = "none";
  for (const renderer of view.renderer_views.values()) renderer.update_position = () => {};
}

// Bokeh shifts its canvas by half a pixel and so never quite clears the first row and column.
function clearEdges({ ctx, canvas }) {
  ctx.clearRect(0, 0, canvas.width, 2);
  ctx.clearRect(0, 0, 2, canvas.height);
}

/** Round to 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const lead = value / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}
