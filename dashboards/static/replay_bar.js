// The bar at the bottom: play, step, speed, and all there is as a volume line to seek in: the whole
// tape, or what a session that goes on has behind it. While that is looked back on, the bar works as
// on a tape; at its right end lies the present.

import { clockText, dateText, speedText } from "./format.js";

const SPEEDS = [1, 10, 60, 100, 1000, "max"];
const LAST_MS = 600000;
const NOW_PX = 5; // so near to the right end a click means the present
const NOTHING = { start_ms: 0, end_ms: 0, volume: [] };

const byId = (id) => document.getElementById(id);

export class ReplayBar {
  constructor(screen) {
    this.screen = screen;
    this.overview = NOTHING;
    this.dragging = null;
    byId("play").onclick = () => this.toggle();
    byId("back").onclick = () => this.seekBy(-10000);
    byId("forward").onclick = () => this.seekBy(10000);
    byId("last-minutes").onclick = () => this.lastMinutes();
    byId("to-now").onclick = () => this.toNow();
    for (const button of byId("steps").querySelectorAll("button")) {
      button.onclick = () => this.step(button.dataset.unit);
    }
    this.chips = SPEEDS.map((speed) => {
      const chip = document.createElement("button");
      chip.textContent = speedText(speed === "max" ? Infinity : speed);
      chip.onclick = () => this.setSpeed(speed);
      byId("speeds").append(chip);
      return chip;
    });
    this.entry = byId("speed");
    this.entry.onkeydown = (event) => {
      if (event.key === "Enter") this.takeEntry();
      if (event.key === "Escape") this.entry.blur();
    };
    this.entry.onblur = () => this.showSpeed();
    this.size = { width: 0, height: 0 };
    new ResizeObserver(([{ contentRect }]) => { this.size = contentRect; }).observe(byId("seek"));
    this.wireSeek();
  }

  get header() {
    return this.screen.store.header;
  }

  /** Whether the screen shows the present of a market, which no one steers. */
  get atNow() {
    return this.header.live && !this.header.looking_back;
  }

  /** Whether there is a present that goes on whatever the screen shows. */
  get hasNow() {
    return this.header !== null && Number.isFinite(this.header.now_ms);
  }

  get seekable() {
    return this.header !== null && (!this.atNow || this.hasNow);
  }

  get endMs() {
    return this.hasNow ? this.header.now_ms : this.header.end_ms;
  }

  toggle() {
    if (this.header === null) return;
    this.screen.link.send({ kind: this.header.playing && !this.header.ended ? "pause" : "play" });
  }

  step(unit) {
    this.screen.link.send({ kind: "step", unit });
  }

  setSpeed(factor) {
    this.screen.link.send({ kind: "speed", factor });
  }

  /** Go to the next faster (1) or slower (-1) of the usual speeds. */
  shift(direction) {
    if (this.header === null) return;
    const usual = SPEEDS.map((speed) => (speed === "max" ? Infinity : speed));
    const now = this.header.speed;
    const next = direction > 0 ? usual.findIndex((s) => s > now) : usual.findLastIndex((s) => s < now);
    if (next >= 0) this.setSpeed(SPEEDS[next]);
  }

  takeEntry() {
    const text = this.entry.value.trim().replace(/[×x]$/, "");
    const factor = Number(text);
    if (text === "max") this.setSpeed("max");
    else if (text !== "" && Number.isFinite(factor)) this.setSpeed(factor);
    else this.screen.toast(`“${text}” is no speed: give a number from 0.1 to 10000, or max`);
    this.entry.blur();
  }

  showSpeed() {
    if (this.header !== null && document.activeElement !== this.entry) {
      this.entry.value = Number.isFinite(this.header.speed) ? String(this.header.speed) : "max";
    }
  }

  seekBy(ms) {
    if (this.header !== null && !this.atNow) this.seek(this.screen.clock.now + ms);
  }

  seek(ms) {
    if (!this.seekable) return;
    const at = Math.min(this.endMs, Math.max(this.header.start_ms, ms));
    this.screen.follow();
    this.screen.link.send({ kind: "seek", ts_us: Math.round(at * 1000) });
  }

  /** Show the last ten minutes of a session that goes on. */
  lastMinutes() {
    if (this.hasNow) this.seek(this.header.now_ms - LAST_MS);
  }

  toNow() {
    if (this.header === null || !this.header.looking_back) return;
    this.screen.follow();
    this.screen.link.send({ kind: "now" });
  }

  setOverview(overview = NOTHING) {
    this.overview = overview;
    this.drawn = null;
  }

  /** Bring the bar up to date; called ten times a second. */
  update() {
    const header = this.header;
    if (header === null) return;
    const moving = header.playing && !header.ended;
    byId("play").classList.toggle("paused", !moving);
    document.body.classList.toggle("live-feed", this.atNow);
    document.body.classList.toggle("seekable", this.seekable);
    byId("last-minutes").hidden = !this.hasNow;
    const badge = byId("state");
    const feed = header.troubled ? "feed trouble" : "live";
    const state = this.atNow ? feed : header.looking_back ? "" : header.ended ? "end of tape" : "";
    badge.hidden = state === "";
    badge.textContent = state;
    badge.classList.toggle("live", this.atNow && !header.troubled);
    badge.classList.toggle("troubled", this.atNow && header.troubled);
    if (this.shownSpeed !== header.speed) {
      this.shownSpeed = header.speed;
      const name = speedText(header.speed);
      for (const chip of this.chips) chip.classList.toggle("on", chip.textContent === name);
      this.showSpeed();
    }
    byId("from").textContent = this.seekable ? clockText(header.start_ms) : "";
    byId("to").textContent = this.seekable ? clockText(this.endMs) : "";
    this.drawSeek();
    this.moveCursor();
  }

  /** Draw the volume twice: faint, and bright for the part that was played. */
  drawSeek() {
    const [ahead, played] = byId("seek").querySelectorAll("canvas");
    const { colours } = this.screen;
    const ratio = devicePixelRatio;
    const width = Math.round(this.size.width * ratio);
    const height = Math.round(this.size.height * ratio);
    const count = Math.floor(width / (2 * ratio));
    const known = [this.overview.start_ms, this.overview.end_ms].map((ms) => Math.round(this.share(ms) * count));
    const mark = `${width} ${height} ${known} ${colours.delta} ${colours.faint}`;
    if (this.drawn === mark || width === 0) return;
    this.drawn = mark;
    const sums = this.columns(count, ...known);
    const peak = Math.sqrt(Math.max(...sums)) || 1;
    for (const [canvas, colour] of [[ahead, colours.faint], [played, colours.delta]]) {
      canvas.width = width;
      canvas.height = height;
      const ctx = canvas.getContext("2d");
      ctx.fillStyle = colour;
      ctx.fillRect(0, height - ratio, width, ratio);
      sums.forEach((sum, i) => {
        const bar = Math.round((Math.sqrt(sum) / peak) * (height - 3 * ratio));
        ctx.fillRect(2 * i * ratio, height - bar, ratio, bar);
      });
    }
  }

  /** The overview's volume in `count` columns, of which it reaches from `first` to `stop`. */
  columns(count, first, stop) {
    const { volume } = this.overview;
    const sums = new Float64Array(count);
    const wide = stop - first;
    if (volume.length === 0 || wide <= 0) return sums;
    if (wide > volume.length) {
      for (let i = 0; i < wide; i++) sums[first + i] = volume[Math.floor((i * volume.length) / wide)];
    } else {
      volume.forEach((lots, i) => { sums[first + Math.floor((i * wide) / volume.length)] += lots; });
    }
    return sums;
  }

  moveCursor() {
    const share = this.dragging ?? this.share(this.screen.clock.now);
    const left = `${(share * 100).toFixed(2)}%`;
    if (this.left === left) return;
    this.left = left;
    byId("seek").querySelector(".cursor").style.left = left;
    byId("seek").querySelector(".played").style.clipPath = `inset(0 ${(100 - share * 100).toFixed(2)}% 0 0)`;
  }

  share(ms) {
    const { start_ms } = this.header;
    const { endMs } = this;
    return endMs > start_ms ? Math.min(1, Math.max(0, (ms - start_ms) / (endMs - start_ms))) : 0;
  }

  wireSeek() {
    const seek = byId("seek");
    const hover = seek.querySelector(".hover");
    const shareAt = (event) => {
      const box = seek.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const timeAt = (share) => this.header.start_ms + share * (this.endMs - this.header.start_ms);
    const isNow = (share) => this.hasNow && (1 - share) * this.size.width < NOW_PX;
    seek.onpointermove = (event) => {
      if (!this.seekable) return;
      const share = shareAt(event);
      hover.hidden = false;
      hover.style.left = `${share * 100}%`;
      hover.textContent = isNow(share) ? "now" : `${dateText(timeAt(share))} ${clockText(timeAt(share))}`;
      if (this.dragging !== null) {
        this.dragging = share;
        this.moveCursor();
      }
    };
    seek.onpointerleave = () => { hover.hidden = true; };
    seek.onpointerdown = (event) => {
      if (!this.seekable) return;
      seek.setPointerCapture(event.pointerId);
      this.dragging = shareAt(event);
      this.moveCursor();
    };
    seek.onpointerup = () => {
      if (this.dragging === null) return;
      if (isNow(this.dragging)) this.toNow();
      else this.seek(timeAt(this.dragging));
      this.dragging = null;
    };
  }
}
