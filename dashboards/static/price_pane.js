// The price pane: candles under bubbles, own orders and fills, and the tags on the price axis.

import { mark } from "./bubble_tiles.js";
import { decimal, short } from "./format.js";

const LABEL_FROM_PX = 14;
const LABELS_MAX = 70;
const CELL_PX = 26;
const ROWS = 1 << 24;
const NEIGHBOURS = [-ROWS, 0, ROWS].flatMap((column) => [column - 1, column, column + 1]);

/** Return the painters `price` and `tags` over what `screen` holds. */
export function pricePainters(screen) {
  const { store, camera, tiles, scale } = screen;

  function price(ctx, frame) {
    if (!store.hasTrades) return;
    const map = mapping(frame, camera);
    candles(ctx, frame, map);
    lastLine(ctx, frame, map);
    if (screen.showBubbles) {
      tiles.paint(ctx, frame, camera, screen.colours);
      openBubble(ctx, map, frame.ratio);
      labels(ctx, frame, map);
    }
    orders(ctx, frame, map);
    fills(ctx, frame, map);
  }

  function candles(ctx, frame, { x, y }) {
    const all = store.candles;
    const { ts, open, high, low, close, length } = all;
    const step = all.spanMs / camera.msPerPx;
    const body = Math.max(1, Math.round(step) - (step > 5 ? 2 : step > 3 ? 1 : 0));
    const wick = Math.max(1, Math.floor(body / 8));
    const strength = screen.showBubbles ? 0.3 : 0.85;
    const first = Math.max(0, all.slotAt(camera.start) - 1);
    for (const rising of [true, false]) {
      ctx.fillStyle = screen.colours[rising ? "buy" : "sell"];
      for (let i = first; i < length && ts[i] <= camera.end; i++) {
        if (close[i] >= open[i] !== rising) continue;
        const left = Math.round(x(ts[i]));
        const top = Math.round(y(Math.max(open[i], close[i])));
        const bottom = Math.round(y(Math.min(open[i], close[i])));
        const highest = Math.round(y(high[i]));
        const lowest = Math.round(y(low[i]));
        ctx.globalAlpha = strength * 1.3 > 1 ? 1 : strength * 1.3;
        const middle = left + Math.floor((body - wick) / 2);
        if (highest < top) ctx.fillRect(middle, highest, wick, top - highest);
        if (lowest > bottom) ctx.fillRect(middle, bottom, wick, lowest - bottom);
        ctx.globalAlpha = strength;
        ctx.fillRect(left, top, body, Math.max(1, bottom - top));
      }
    }
    ctx.globalAlpha = 1;
  }

  function lastLine(ctx, frame, { y }) {
    const at = Math.round(y(store.header.last)) + 0.5;
    ctx.strokeStyle = screen.colours[store.header.last_side >= 0 ? "buy" : "sell"];
    ctx.globalAlpha = 0.55;
    ctx.setLineDash([2, 4]);
    line(ctx, frame.left, at, frame.left + frame.width);
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  function openBubble(ctx, { x, y }, ratio) {
    const h = store.header;
    if (!(h.bubble_qty > 0)) return;
    const side = h.bubble_side > 0 ? "buy" : "sell";
    mark(ctx, x(h.bubble_ts), y(h.bubble_price), scale.radius(h.bubble_qty), side, screen.colours, 1, 1);
    ctx.globalAlpha = 1;
  }

  function labels(ctx, frame, map) {
    const { ts, price: prices, qty, base } = store.bubbles;
    ctx.font = `600 10px ${screen.mono}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillStyle = screen.colours.text;
    let left = LABELS_MAX;
    const taken = new Set(); // cells with a label: two never overlap
    for (let n = screen.large.length - 1; n >= 0 && left > 0; n--) {
      const slot = screen.large[n] - base;
      if (slot < 0 || ts[slot] < camera.start) break;
      if (ts[slot] > camera.end || qty[slot] < tiles.minQty) continue;
      const text = short(qty[slot]);
      if (text.length * 6.1 > 2 * scale.radius(qty[slot]) - 2) continue;
      const column = Math.floor(ts[slot] / camera.msPerPx / CELL_PX);
      const row = Math.floor((prices[slot] * map.ky * 2) / CELL_PX);
      const cell = column * ROWS + row;
      if (NEIGHBOURS.some((step) => taken.has(cell + step))) continue;
      taken.add(cell);
      ctx.fillText(text, map.x(ts[slot]), map.y(prices[slot]) + 0.5);
      left -= 1;
    }
  }

  function orders(ctx, frame, { y }) {
    const { count, price: prices, side, remaining, stage } = store.orders;
    ctx.font = `11px ${screen.mono}`;
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    ctx.lineWidth = 1;
    const right = frame.left + frame.width - 8;
    const label = (text, at, colour) => {
      ctx.fillStyle = screen.colours.shade;
      ctx.fillRect(right - 4 - 6.7 * text.length, at - 17, 6.7 * text.length + 8, 15);
      ctx.fillStyle = colour;
      ctx.fillText(text, right, at - 3);
    };
    for (let i = 0; i < count; i++) {
      if (!(prices[i] > 0)) continue;
      const at = Math.round(y(prices[i])) + 0.5;
      if (at < frame.top || at > frame.top + frame.height) continue;
      const colour = screen.colours[side[i] > 0 ? "buy" : "sell"];
      ctx.strokeStyle = colour;
      ctx.globalAlpha = stage[i] === 0 ? 0.5 : 1;
      ctx.setLineDash([7, 4]);
      line(ctx, frame.left, at, frame.left + frame.width);
      ctx.setLineDash([]);
      label(`${side[i] > 0 ? "▲ buy" : "▼ sell"} ${short(remaining[i])}`, at, colour);
      ctx.globalAlpha = 1;
    }
    ticketLine(ctx, frame, y);
    const { entry, position } = store.header;
    if (position !== 0 && Number.isFinite(entry)) {
      const at = Math.round(y(entry)) + 0.5;
      ctx.strokeStyle = screen.colours.own;
      ctx.globalAlpha = 0.7;
      line(ctx, frame.left, at, frame.left + frame.width);
      ctx.globalAlpha = 1;
      label(`entry ${decimal(entry, store.feed.price_decimals)}`, at, screen.colours.own);
    }
  }

  function ticketLine(ctx, frame, y) {
    const at = Math.round(y(screen.ticket.limit)) + 0.5;
    if (!(at >= frame.top && at <= frame.top + frame.height)) return;
    ctx.strokeStyle = screen.colours.delta;
    ctx.setLineDash([1, 3]);
    line(ctx, frame.left, at, frame.left + frame.width);
    ctx.setLineDash([]);
  }

  function fills(ctx, frame, { x, y }) {
    const { ts, price: prices, side, length } = store.fills;
    ctx.lineWidth = 2;
    ctx.lineJoin = "round";
    ctx.strokeStyle = screen.colours["own-outline"];
    ctx.fillStyle = screen.colours.own;
    for (let i = store.fills.slotAt(camera.start); i < length && ts[i] <= camera.end; i++) {
      const up = side[i] > 0 ? 1 : -1;
      const at = x(ts[i]);
      const tip = y(prices[i]) + 2 * up;
      ctx.beginPath();
      ctx.moveTo(at, tip);
      ctx.lineTo(at - 6, tip + 10 * up);
      ctx.lineTo(at + 6, tip + 10 * up);
      ctx.closePath();
      ctx.stroke();
      ctx.fill();
    }
    ctx.lineWidth = 1;
  }

  function tags(ctx, frame) {
    if (!store.hasTrades) return;
    const { y } = mapping(frame, camera);
    const { last, last_side } = store.header;
    const at = y(last);
    if (at < frame.top - 9 || at > frame.top + frame.height + 9) return;
    const text = decimal(last, store.feed.price_decimals);
    const left = frame.left + frame.width + 1;
    ctx.font = `600 11px ${screen.mono}`;
    const width = Math.max(60, ctx.measureText(text).width + 14);
    ctx.fillStyle = screen.colours[last_side >= 0 ? "buy" : "sell"];
    ctx.beginPath();
    const middle = Math.round(at);
    ctx.moveTo(left, middle);
    ctx.lineTo(left + 6, middle - 9);
    ctx.lineTo(left + width, middle - 9);
    ctx.lineTo(left + width, middle + 10);
    ctx.lineTo(left + 6, middle + 10);
    ctx.closePath();
    ctx.fill();
    ctx.fillStyle = screen.colours.background;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.fillText(text, left + 9, middle + 1);
  }

  return { price, tags };
}

/** Functions from market units to pixels of a figure. */
export function mapping(frame, camera) {
  const kx = 1 / camera.msPerPx;
  const ky = frame.height / (camera.top - camera.bottom);
  return {
    ky,
    x: (ms) => frame.left + (ms - camera.start) * kx,
    y: (price) => frame.top + (camera.top - price) * ky,
  };
}

function line(ctx, left, y, right) {
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(right, y);
  ctx.stroke();
}

export const largeEnough = (radius) => radius > LABEL_FROM_PX;
