// The crosshair over all panes, the tooltip of a bubble and the read-out of a candle.

import { clockText, clockTextUs, dateText, decimal, short, signed } from "./format.js";
import { mapping } from "./price_pane.js";

const REACH_PX = 4;

export class Hover {
  constructor(screen) {
    this.screen = screen;
    this.main = document.querySelector("main");
    this.cross = document.getElementById("crosshair");
    [this.vertical, this.horizontal] = this.cross.querySelectorAll("i");
    [this.priceTag, this.timeTag] = this.cross.querySelectorAll("b");
    this.tooltip = document.getElementById("tooltip");
    this.at = null;
    for (const name of ["price", "delta", "volume"]) {
      const pane = document.getElementById(`pane-${name}`);
      pane.addEventListener("pointermove", (event) => { this.at = { name, x: event.clientX, y: event.clientY }; });
      pane.addEventListener("pointerleave", () => { this.at = null; });
    }
  }

  /** Bring everything to where the pointer is; called once a frame. */
  update() {
    const { at, screen } = this;
    const box = at && screen.frameOf(at.name);
    const inside = at && contains(box, at);
    this.cross.hidden = !inside;
    if (!inside) {
      this.tooltip.hidden = true;
      return;
    }
    const main = this.main.getBoundingClientRect();
    const { camera, store } = screen;
    this.vertical.style.transform = `translateX(${at.x - main.left}px)`;
    this.horizontal.style.width = `${box.width}px`;
    this.horizontal.style.transform = `translateY(${at.y - main.top}px)`;
    const ms = camera.start + (at.x - box.left) * camera.msPerPx;
    this.timeTag.textContent = clockText(ms);
    const below = screen.frameOf("volume");
    const middle = Math.min(box.width - 60, Math.max(0, at.x - box.left - 30));
    place(this.timeTag, middle, below.top + below.height - main.top + 3);
    this.priceTag.textContent = this.valueText(at, box);
    place(this.priceTag, box.left + box.width - main.left + 4, at.y - main.top - 10);
    this.readout(ms, store);
    this.bubble(at, box, main);
  }

  valueText(at, box) {
    const share = (at.y - box.top) / box.height;
    const { camera, ranges, store } = this.screen;
    if (at.name === "price") {
      const price = camera.top - share * (camera.top - camera.bottom);
      return store.feed === null ? "" : decimal(price, store.feed.price_decimals);
    }
    const { start, end } = ranges[at.name];
    const value = end - share * (end - start);
    return at.name === "delta" ? signed(value) : short(value);
  }

  readout(ms, store) {
    const candles = store.candles;
    const i = candles.slotAt(ms + 1e-3) - 1;
    const known = store.feed !== null && i >= 0 && i < candles.length && ms < candles.ts[i] + candles.spanMs;
    const price = (value) => decimal(value, store.feed.price_decimals);
    this.screen.readout = !known ? "" : [
      `O ${price(candles.open[i])}`,
      `H ${price(candles.high[i])}`,
      `L ${price(candles.low[i])}`,
      `C ${price(candles.close[i])}`,
      `V ${short(candles.buy[i] + candles.sell[i])}`,
      `Δ ${signed(candles.buy[i] - candles.sell[i])}`,
    ].join("  ");
  }

  bubble(at, box, main) {
    const found = at.name === "price" && this.screen.showBubbles ? this.nearest(at, box) : -1;
    this.tooltip.hidden = found < 0;
    if (found < 0) return;
    const { store } = this.screen;
    const { ts, price, qty, trades, side, span_ms } = store.bubbles;
    const { price_decimals, qty_decimals } = store.feed;
    const buys = side[found] > 0;
    const lines = [
      `${buys ? "▲ buyer" : "▼ seller"} was the aggressor`,
      `quantity  ${decimal(qty[found], qty_decimals)}`,
      `vwap      ${decimal(price[found], price_decimals + 1)}`,
      `trades    ${trades[found]}`,
      `time      ${dateText(ts[found])} ${clockTextUs(ts[found])}`,
    ];
    if (span_ms[found] > 0) lines.push(`span      ${span_ms[found].toFixed(3)} ms`);
    this.tooltip.textContent = lines.join("\n");
    this.tooltip.className = buys ? "up" : "down";
    const { offsetWidth, offsetHeight } = this.tooltip;
    const x = at.x - main.left;
    const left = x + 18 + offsetWidth > box.width ? x - offsetWidth - 18 : x + 18;
    place(this.tooltip, left, Math.max(6, Math.min(at.y - main.top + 18, box.height - offsetHeight - 6)));
  }

  /** Slot of the bubble whose middle is nearest, measured in its own radius; -1 for none. */
  nearest(at, box) {
    const { camera, store, scale, tiles } = this.screen;
    const { ts, price, qty, length } = store.bubbles;
    const { x, y } = mapping(box, camera);
    const reach = 36 * camera.msPerPx;
    const ms = camera.start + (at.x - box.left) * camera.msPerPx;
    let best = -1;
    let nearest = 1;
    for (let i = store.bubbles.slotAt(ms - reach); i < length && ts[i] <= ms + reach; i++) {
      if (qty[i] < tiles.minQty) continue;
      const reachPx = Math.max(scale.radius(qty[i]), REACH_PX);
      const distance = Math.hypot(x(ts[i]) - at.x, y(price[i]) - at.y) / reachPx;
      if (distance <= nearest) {
        best = i;
        nearest = distance;
      }
    }
    return best;
  }
}

function contains({ left, top, width, height }, { x, y }) {
  return x >= left && x < left + width && y >= top && y < top + height;
}

function place(element, x, y) {
  element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
