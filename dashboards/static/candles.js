// Candles of any span from closed bars plus the open one, with cumulative delta.

import { Columns } from "./columns.js";

const F = Float64Array;
const TYPES = { ts: F, open: F, high: F, low: F, close: F, buy: F, sell: F, trades: F, cum: F };
const NAMES = Object.keys(TYPES);

export class Candles extends Columns {
  constructor(spanMs) {
    super(TYPES, 1 << 17);
    this.spanMs = spanMs;
    this.delta = 0; // cumulative delta behind the newest closed bar
    this.undo = null;
  }

  /** Start again from all closed bars; `base` is the cumulative delta before the first of them. */
  rebuild(bars, base) {
    this.clear();
    this.undo = null;
    this.delta = base;
    this.extend(bars, 0);
  }

  /** Add the closed bars from slot `from` on. */
  extend(bars, from) {
    this.closeOpen();
    for (let i = from; i < bars.length; i++) {
      const { ts, open, high, low, close, buy, sell, trades } = bars;
      this.add(ts[i], open[i], high[i], low[i], close[i], buy[i], sell[i], trades[i]);
    }
  }

  /** Show the open bar on top; the next call takes it away again. */
  setOpen(header) {
    this.closeOpen();
    if (!(header.bar_trades > 0)) return;
    const slot = this.length - 1;
    const row = slot < 0 ? null : NAMES.map((name) => this[name][slot]);
    this.undo = { length: this.length, delta: this.delta, row };
    const h = header;
    this.add(h.bar_ts, h.bar_open, h.bar_high, h.bar_low, h.bar_close, h.bar_buy, h.bar_sell, h.bar_trades);
  }

  closeOpen() {
    if (this.undo === null) return;
    const { length, delta, row } = this.undo;
    this.length = length;
    this.delta = delta;
    if (row !== null) NAMES.forEach((name, i) => { this[name][length - 1] = row[i]; });
    this.undo = null;
  }

  add(ts, open, high, low, close, buy, sell, trades) {
    const start = Math.floor(ts / this.spanMs) * this.spanMs;
    let i = this.length - 1;
    if (i < 0 || this.ts[i] !== start) {
      this.reserve(1);
      i = this.length++;
      this.ts[i] = start;
      this.open[i] = open;
      this.high[i] = high;
      this.low[i] = low;
      this.buy[i] = this.sell[i] = this.trades[i] = 0;
    }
    if (high > this.high[i]) this.high[i] = high;
    if (low < this.low[i]) this.low[i] = low;
    this.close[i] = close;
    this.buy[i] += buy;
    this.sell[i] += sell;
    this.trades[i] += trades;
    this.delta += buy - sell;
    this.cum[i] = this.delta;
  }
}
