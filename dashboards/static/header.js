// The texts of the header, the session figures and the account.

import { clockText, dateText, decimal, short, signed } from "./format.js";

const byId = (id) => document.getElementById(id);

export class Header {
  constructor(screen) {
    this.screen = screen;
    this.texts = new Map();
  }

  set(id, text, className) {
    const shown = this.texts.get(id);
    const next = className === undefined ? text : `${text}\n${className}`;
    if (shown === next) return;
    this.texts.set(id, next);
    const element = byId(id);
    element.textContent = text;
    if (className !== undefined) element.className = className;
  }

  /** Rewrite what changed; called ten times a second. */
  update() {
    const { store, clock, stats, valueArea } = this.screen;
    const header = store.header;
    this.set("clock", clockText(clock.now));
    this.set("date", dateText(clock.now));
    if (header === null) return;
    const price = (value) => decimal(value, store.feed.price_decimals);
    const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
    const known = store.hasTrades;
    this.set("last", known ? price(header.last) : "–", `number ${direction(header.last_side)}`);
    const delta = header.buy - header.sell;
    this.set("session-delta", signed(delta), direction(delta));
    this.set("session-volume", short(header.buy + header.sell));
    this.set("session-high", known ? price(header.high) : "–");
    this.set("session-low", known ? price(header.low) : "–");
    this.set("session-vwap", price(header.vwap));
    this.set("delta-now", signed(delta));
    this.set("stat-poc", price(valueArea.poc));
    this.set("stat-high", price(valueArea.high));
    this.set("stat-low", price(valueArea.low));
    this.set("stat-trades", short(header.trades));
    this.balance(header);
    const behind = header.lag_ms / Math.max(1, Number.isFinite(header.speed) ? header.speed : 1);
    const lag = behind + (Number.isNaN(header.round_trip_ms) ? 0 : header.round_trip_ms);
    const late = lag < 10000 ? `${lag.toFixed(0)} ms` : `${(lag / 1000).toFixed(0)} s`;
    this.set("health", `${stats.fps.toFixed(0)} fps · ${late}`);
    byId("waiting").hidden = known;
    byId("waiting-text").textContent = header.ended
      ? "The tape ended without a trade."
      : header.playing ? "The screen starts by itself." : "Press Space to play.";
    byId("notice").hidden = store.notice === "";
    this.set("notice", store.notice);
    this.account(header, price);
  }

  balance(header) {
    const total = header.buy + header.sell;
    if (!(total > 0)) return;
    const share = (100 * header.buy) / total;
    const [buy, sell] = byId("balance").querySelectorAll(".bar i");
    buy.style.width = `${share}%`;
    sell.style.width = `${100 - share}%`;
    this.set("share-buy", `▲ ${share.toFixed(0)}%`);
    this.set("share-sell", `${100 - share.toFixed(0)}% ▼`);
  }

  account(header, price) {
    const { store } = this.screen;
    const shown = store.isTrading || store.feed.trade;
    byId("account").hidden = !shown;
    if (!shown) return;
    const money = (value) => decimal(value, 2);
    const sign = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");
    this.set("own-position", signed(header.position), sign(header.position));
    this.set("own-entry", price(header.entry));
    this.set("own-unrealized", money(header.unrealized), sign(header.unrealized));
    this.set("own-realized", money(header.realized), sign(header.realized));
    this.set("own-fees", money(header.fees));
    this.set("own-equity", money(header.equity));
    this.equityLine();
  }

  equityLine() {
    const { store, colours } = this.screen;
    const { equity, length, end } = store.equity;
    const canvas = byId("equity");
    const mark = `${end} ${Math.floor(performance.now() / 1000)} ${colours.delta}`;
    if (this.equityMark === mark) return;
    this.equityMark = mark;
    const ratio = devicePixelRatio;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const from = Math.max(0, length - 2000);
    const step = Math.ceil((length - from) / 250);
    const values = [];
    for (let i = from; i < length; i += step) values.push(equity[i]);
    values.push(store.header.equity);
    if (length === 0) values.push(store.header.equity);
    const low = Math.min(...values);
    const span = Math.max(...values) - low;
    const ctx = canvas.getContext("2d");
    ctx.strokeStyle = colours.delta;
    ctx.lineWidth = 1.4 * ratio;
    ctx.lineJoin = "round";
    values.forEach((value, i) => {
      const x = (i / (values.length - 1)) * canvas.width;
      const share = span > 0 ? (value - low) / span : 0.5;
      ctx.lineTo(x, canvas.height - 3 - share * (canvas.height - 6));
    });
    ctx.stroke();
  }
}
