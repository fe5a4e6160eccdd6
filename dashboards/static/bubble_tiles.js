// Bubbles drawn once into tiles that are then only copied: a frame costs the same for 2k or 20k.
//
// A tile is a strip of 256 device pixels of time, three frames high, in a plane anchored at a time
// and a price. Moving the view moves the copies; changing the scale draws a new set, newest tile
// first and a slice per frame, while the old set stands in, stretched.

import { BIGGEST_PX } from "./bubble_scale.js";
import { lowerBound } from "./columns.js";

const TILE_PX = 256;
const SLICE_MS = 7;
const SETTLE_MS = 140;
const RIM_FROM_PX = 6;

export class BubbleTiles {
  constructor(store, scale) {
    this.store = store;
    this.scale = scale;
    this.set = null;
    this.old = null;
    this.pending = false; // more slices are to be drawn
    this.rebuilds = 0;
    this.revision = 0;
    this.seen = null;
    this.minQty = 0;
  }

  /** Have everything drawn again: colours, sizes or history changed. */
  invalidate() {
    this.revision += 1;
  }

  /** Paint what lies in the camera's view into `frame`. */
  paint(ctx, frame, camera, colours) {
    const { ratio } = frame;
    const now = performance.now();
    const kx = ratio / camera.msPerPx;
    const ky = (ratio * camera.height) / (camera.top - camera.bottom);
    this.choose(kx, ky, Math.round(frame.height * ratio), camera, now);
    const set = this.set;
    const exact = set.kx === kx && set.ky === ky;
    ctx.save();
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.translate(Math.round(frame.left * ratio), Math.round(frame.top * ratio));
    const width = Math.round(frame.width * ratio);
    if (exact) {
      const x = Math.round((camera.start - set.t0) * kx);
      const y = Math.round((set.p0 - camera.top) * ky) - set.y0;
      const undone = this.fill(set, x, width, colours, ratio, now + SLICE_MS);
      if (undone > 0 && this.old !== null) {
        ctx.save();
        ctx.beginPath();
        ctx.rect(0, 0, undone, frame.height * ratio);
        ctx.clip();
        stretch(ctx, this.old, camera, kx, ky);
        ctx.restore();
      } else if (undone <= 0) {
        this.old = null;
      }
      for (const [index, tile] of set.tiles) {
        const left = index * TILE_PX - x;
        if (left < width && left > -TILE_PX && (tile.done || this.old === null)) ctx.drawImage(tile.canvas, left, -y);
      }
    } else {
      const x = Math.round((camera.start - set.t0) * set.kx);
      this.fill(set, x, (width * set.kx) / kx, colours, ratio, now + SLICE_MS);
      stretch(ctx, set, camera, kx, ky);
      this.pending = true;
    }
    ctx.restore();
  }

  // Keep the set, or begin a new one once the scale has come to rest.
  choose(kx, ky, height, camera, now) {
    const set = this.set;
    const key = `${kx} ${ky} ${height}`;
    if (key !== this.seen) {
      this.seen = key;
      this.changedAt = now;
    }
    if (set !== null && set.revision === this.revision && set.height === height) {
      const y = Math.round((set.p0 - camera.top) * ky) - set.y0;
      const inside = y >= 0 && y + height <= 3 * height;
      if (set.kx === kx && set.ky === ky && inside) return;
      const factor = Math.max(set.ky / ky, ky / set.ky, set.kx / kx, kx / set.kx);
      const settleMs = camera.autoY && !camera.growing ? 0 : SETTLE_MS;
      if (factor > 1 && factor < 3 && now - this.changedAt < settleMs) return;
    }
    const replaced = set === null || set.generation !== this.store.generation;
    this.old = replaced ? null : set;
    this.set = {
      kx, ky, height,
      t0: camera.start,
      p0: camera.top,
      y0: -height,
      tiles: new Map(),
      revision: this.revision,
      generation: this.store.generation,
    };
    this.rebuilds += 1;
  }

  // Draw what is missing, newest tile first; returns how many pixels from the left are not done.
  fill(set, x, width, colours, ratio, deadline) {
    const first = Math.floor(x / TILE_PX);
    const last = Math.floor((x + width) / TILE_PX);
    for (const index of set.tiles.keys()) {
      if (index < first - 1 || index > last + 1) set.tiles.delete(index);
    }
    let undone = 0;
    this.pending = false;
    for (let index = last; index >= first; index--) {
      let tile = set.tiles.get(index);
      if (tile === undefined) {
        tile = newTile(3 * set.height);
        set.tiles.set(index, tile);
      }
      if (!this.draw(set, index, tile, colours, ratio, deadline)) {
        this.pending = true;
        if (!tile.done) undone = Math.max(undone, (index + 1) * TILE_PX - x);
      }
    }
    return undone;
  }

  draw(set, index, tile, colours, ratio, deadline) {
    const bubbles = this.store.bubbles;
    if (tile.next >= bubbles.end) return true;
    const reach = (BIGGEST_PX + 2) * ratio;
    const left = index * TILE_PX;
    const from = set.t0 + (left - reach) / set.kx;
    const to = set.t0 + (left + TILE_PX + reach) / set.kx;
    let slot = Math.max(tile.next - bubbles.base, lowerBound(bubbles.ts, bubbles.length, from));
    const { ts, price, qty, side, length } = bubbles;
    const { ctx } = tile;
    for (let n = 0; slot < length && ts[slot] <= to; slot++, n++) {
      if ((n & 127) === 127 && performance.now() > deadline) {
        tile.next = slot + bubbles.base;
        return false;
      }
      const x = (ts[slot] - set.t0) * set.kx - left;
      const y = (set.p0 - price[slot]) * set.ky - set.y0;
      const r = this.scale.radius(qty[slot]) * ratio;
      const opacity = qty[slot] < this.minQty ? 0.16 : this.scale.opacity;
      mark(ctx, x, y, r, side[slot] > 0 ? "buy" : "sell", colours, ratio, opacity);
    }
    tile.next = slot < length ? Infinity : bubbles.end;
    tile.done = true;
    return true;
  }
}

/** Draw one bubble. */
export function mark(ctx, x, y, r, side, colours, ratio, opacity) {
  ctx.fillStyle = colours[side];
  if (r < 1.3 * ratio) {
    ctx.globalAlpha = 0.62 * opacity;
    ctx.fillRect(x - r, y - r, 2 * r, 2 * r);
    return;
  }
  const size = Math.min(1, r / (22 * ratio));
  ctx.globalAlpha = (0.62 - 0.28 * size) * opacity;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
  if (r > RIM_FROM_PX * ratio) {
    ctx.globalAlpha = 0.9 * opacity;
    ctx.lineWidth = 1.4 * ratio;
    ctx.strokeStyle = colours[`${side}-rim`];
    ctx.stroke();
  }
}

function newTile(height) {
  const canvas = document.createElement("canvas");
  canvas.width = TILE_PX;
  canvas.height = height;
  return { canvas, ctx: canvas.getContext("2d"), next: 0, done: false };
}

function stretch(ctx, set, camera, kx, ky) {
  const sx = kx / set.kx;
  const sy = ky / set.ky;
  const x = (set.t0 - camera.start) * kx;
  const y = (camera.top - set.p0) * ky + set.y0 * sy;
  for (const [index, { canvas }] of set.tiles) {
    ctx.drawImage(canvas, x + index * TILE_PX * sx, y, TILE_PX * sx, canvas.height * sy);
  }
}
