// Everything the browser knows about the market on screen, in units of people: price, quantity, ms.

import { Candles } from "./candles.js";
import { Columns } from "./columns.js";

const F = Float64Array;
const BARS = { ts: F, open: F, high: F, low: F, close: F, buy: F, sell: F, trades: F };
const BUBBLES = { ts: F, price: F, qty: F, span_ms: Float32Array, trades: Uint32Array, side: Int8Array };
const PRINTS = { ts: F, price: F, qty: F, side: Int8Array };
const FILLS = { ts: F, price: F, qty: F, side: Int8Array };
const EQUITY = { ts: F, equity: F };
const PRICES = new Set(["price", "open", "high", "low", "close"]);
const QUANTITIES = new Set(["qty", "buy", "sell", "remaining"]);
const HEADER_PRICES = [
  "last", "high", "low", "vwap", "entry", "bar_open", "bar_high", "bar_low", "bar_close", "bubble_price",
];
const HEADER_QUANTITIES = ["buy", "sell", "position", "bar_buy", "bar_sell", "bubble_qty"];

export class Store {
  constructor(spanMs) {
    this.bars = new Columns(BARS, 1 << 17);
    this.bubbles = new Columns(BUBBLES, 1 << 16);
    this.prints = new Columns(PRINTS, 1 << 10);
    this.fills = new Columns(FILLS, 1 << 14);
    this.equity = new Columns(EQUITY, 1 << 14);
    this.candles = new Candles(spanMs);
    this.generation = 0; // grows when history is replaced
    this.reset(null);
  }

  /** Forget everything and speak in the units of `feed` from now on. */
  reset(feed) {
    this.feed = feed;
    this.tick = feed === null ? 1 : 10 ** -feed.price_decimals;
    this.perPrice = feed === null ? 1 : 10 ** feed.price_decimals;
    this.perQty = feed === null ? 1 : 10 ** feed.qty_decimals;
    this.header = null;
    this.profile = { count: 0, price: [], buy: [], sell: [] };
    this.orders = { count: 0, id: [], price: [], side: [], remaining: [], order_kind: [], stage: [] };
    this.notice = "";
    this.clearHistory();
  }

  clearHistory() {
    for (const columns of [this.bars, this.bubbles, this.prints, this.fills, this.equity]) columns.clear();
    this.candles.rebuild(this.bars, 0);
    this.generation += 1;
  }

  /** Take a decoded frame in. */
  apply({ header, sections }) {
    this.convert(header, sections);
    if (header.restart) this.clearHistory();
    const known = this.bars.length;
    this.bars.append(sections.bars);
    const from = this.bars.length - sections.bars.count;
    if (header.restart || from !== known) this.rebuildCandles(header);
    else this.candles.extend(this.bars, from);
    this.candles.setOpen(header);
    this.bubbles.append(sections.bubbles);
    this.prints.append(sections.prints);
    this.fills.append(sections.fills);
    this.equity.append(sections.equity);
    this.orders = sections.orders;
    if (header.with_profile) this.profile = sections.profile;
    this.notice = new TextDecoder().decode(sections.notice.text);
    this.header = header;
  }

  setSpan(spanMs) {
    if (spanMs === this.candles.spanMs) return;
    this.candles.spanMs = spanMs;
    if (this.header !== null) {
      this.rebuildCandles(this.header);
      this.candles.setOpen(this.header);
    }
  }

  rebuildCandles(header) {
    let delta = header.bar_trades > 0 ? header.bar_buy - header.bar_sell : 0;
    for (let i = 0; i < this.bars.length; i++) delta += this.bars.buy[i] - this.bars.sell[i];
    this.candles.rebuild(this.bars, header.buy - header.sell - delta);
  }

  get hasTrades() {
    return this.header !== null && this.header.trades > 0;
  }

  get isTrading() {
    return this.header !== null && (this.header.position !== 0 || this.fills.end > 0 || this.orders.count > 0);
  }

  convert(header, sections) {
    for (const section of Object.values(sections)) {
      for (const [name, column] of Object.entries(section)) {
        if (PRICES.has(name)) divide(column, this.perPrice);
        else if (QUANTITIES.has(name)) divide(column, this.perQty);
      }
    }
    for (const name of HEADER_PRICES) header[name] /= this.perPrice;
    for (const name of HEADER_QUANTITIES) header[name] /= this.perQty;
  }
}

function divide(column, by) {
  for (let i = 0; i < column.length; i++) column[i] /= by;
}
