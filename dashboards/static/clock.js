// Market time between two frames: the server says where it stands, the browser keeps it moving.

const CORRECTION = 0.1; // of the error, each frame
const CORRECTION_AT_REST = 0.4;
const JUMP_MS = 400;

export class MarketClock {
  constructor() {
    this.now = NaN;
    this.rate = 0;
    this.offset = NaN; // browser clock minus server clock at the quickest delivery seen lately
    this.last = null;
  }

  /** Take the stand of a frame that arrived at `arrivedMs` of the browser's clock. */
  sample(header, arrivedMs) {
    const offset = arrivedMs - header.sent_ms;
    this.offset = Number.isNaN(this.offset) ? offset : Math.min(this.offset + 0.05, offset);
    const moving = header.playing && !header.ended;
    if (Number.isFinite(header.speed)) this.rate = moving ? header.speed : 0;
    else this.rate = moving ? this.measured(header) : 0;
    this.last = header;
    if (header.restart || Number.isNaN(this.now)) this.now = this.target(arrivedMs);
  }

  measured(header) {
    const before = this.last;
    if (before === null || header.restart || header.sent_ms <= before.sent_ms) return 0;
    return Math.max(0, (header.clock_ms - before.clock_ms) / (header.sent_ms - before.sent_ms));
  }

  target(perfMs) {
    const since = Math.min(1000, Math.max(0, perfMs - this.offset - this.last.sent_ms));
    const target = this.last.clock_ms + since * this.rate;
    return Number.isNaN(this.last.end_ms) ? target : Math.min(target, this.last.end_ms);
  }

  /** Return market time at `perfMs`, `dtMs` after the frame before. */
  advance(perfMs, dtMs) {
    if (this.last === null) return this.now;
    const error = this.target(perfMs) - (this.now + dtMs * this.rate);
    if (Math.abs(error) > JUMP_MS * Math.max(1, this.rate)) {
      this.now += dtMs * this.rate + error;
    } else {
      const step = dtMs * this.rate + CORRECTION * error;
      this.now += this.rate > 0 ? Math.max(0, step) : CORRECTION_AT_REST * error;
    }
    return this.now;
  }
}
