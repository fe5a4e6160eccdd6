// What the screen knows about itself: the header shows it, tests and benchmarks read it.

const KEPT = 1200;

export class Stats {
  constructor() {
    this.frames = 0;
    this.paints = 0;
    this.received_frames = 0;
    this.received_bytes = 0;
    this.restarts = 0;
    this.fps = 0;
    this.deltas_ms = new Float64Array(KEPT);
    this.costs_ms = new Float64Array(KEPT);
    this.second = { since: 0, frames: 0 };
  }

  received(header, bytes) {
    this.received_frames += 1;
    this.received_bytes += bytes;
    this.seq = header.seq;
    this.epoch = header.epoch;
    if (header.restart) this.restarts += 1;
  }

  framed(dt, cost, painted, screen) {
    this.deltas_ms[this.frames % KEPT] = dt;
    this.costs_ms[this.frames % KEPT] = cost;
    this.frames += 1;
    if (painted) this.paints += 1;
    this.second.since += dt;
    this.second.frames += 1;
    if (this.second.since >= 500) {
      this.fps = (1000 * this.second.frames) / this.second.since;
      this.second = { since: 0, frames: 0 };
    }
    this.screen = screen;
  }

  /** The newest frame intervals and script costs in ms, oldest first. */
  recent(count) {
    const kept = Math.min(count, this.frames, KEPT);
    const first = this.frames - kept;
    const take = (ring) => Array.from({ length: kept }, (_, i) => ring[(first + i) % KEPT]);
    return { deltas_ms: take(this.deltas_ms), costs_ms: take(this.costs_ms) };
  }

  /** Plain numbers about the screen as it stands. */
  snapshot() {
    const { clock, store, camera, tiles, link } = this.screen;
    const { bubbles, header } = store;
    return {
      frames: this.frames,
      paints: this.paints,
      fps: this.fps,
      received_frames: this.received_frames,
      received_bytes: this.received_bytes,
      restarts: this.restarts,
      seq: this.seq,
      ack: link.acknowledged,
      epoch: this.epoch,
      clock_ms: clock.now,
      last: header?.last,
      trades: header?.trades,
      playing: header?.playing,
      speed: header?.speed,
      ended: header?.ended,
      looking_back: header?.looking_back,
      round_trip_ms: header?.round_trip_ms,
      following: camera.following,
      bubbles: bubbles.length,
      visible: bubbles.slotAt(camera.end) - bubbles.slotAt(camera.start),
      candles: store.candles.length,
      rebuilds: tiles.rebuilds,
    };
  }
}
