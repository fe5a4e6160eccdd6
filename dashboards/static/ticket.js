// The order ticket: there only where the server takes orders. Nothing is sent that is not complete
// and exact; what was sent is shown as such until its answer comes.

import { fromUnits, grouped, toUnits } from "./exact.js";
import { decimal } from "./format.js";
import { OpenOrders } from "./open_orders.js";
import { remembered, setPreference } from "./preferences.js";

const CLICK_PX = 4;

const byId = (id) => document.getElementById(id);

export class Ticket {
  constructor(screen) {
    this.screen = screen;
    this.feed = null;
    this.limit = NaN; // the price in the field, for the line in the price pane
    this.complaint = "";
    this.sent = new Map(); // what was asked for and is not answered yet, by its cmd_id
    this.prefix = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("-");
    this.count = 0;
    this.qty = byId("ticket-qty");
    this.price = byId("ticket-price");
    this.orders = new OpenOrders(byId("ticket-orders"), (id, button) => this.cancel(id, button));
    byId("ticket-buy").onclick = () => this.order(1);
    byId("ticket-sell").onclick = () => this.order(-1);
    byId("ticket-cancel-all").onclick = () => this.cancelAll();
    byId("ticket-flatten").onclick = () => this.flatten();
    byId("ticket-market").onclick = () => this.setPrice("");
    for (const field of [this.qty, this.price]) {
      field.oninput = () => this.check();
      field.onkeydown = (event) => { if (event.key === "Escape") field.blur(); };
    }
    this.wireClicks();
  }

  /** Whether orders are taken for the market on screen. */
  get offered() {
    return this.feed !== null && this.feed.trade;
  }

  get lookingBack() {
    return this.screen.store.header?.looking_back ?? false;
  }

  holds(element) {
    return byId("ticket").contains(element);
  }

  /** Be the ticket of another market. */
  select(feed) {
    this.feed = feed;
    byId("ticket").hidden = !feed.trade;
    document.body.classList.toggle("trading", feed.trade);
    this.qty.value = remembered(this.memory) ?? "";
    this.setPrice("");
  }

  get memory() {
    const { venue, market, symbol } = this.feed;
    return `qty.${venue}.${market}.${symbol}`;
  }

  setPrice(text) {
    this.price.value = text;
    this.check();
  }

  /** Read the fields; returns {qty_lots, limit_ticks} or null. */
  check() {
    const { price_decimals, qty_decimals } = this.feed;
    const empty = this.price.value.trim() === "";
    const price = empty ? { units: 0 } : toUnits(this.price.value, price_decimals, "Price");
    const nothing = this.qty.value.trim() === "";
    const qty = nothing ? {} : toUnits(this.qty.value, qty_decimals, "Quantity");
    this.qty.classList.toggle("bad", qty.error !== undefined);
    this.price.classList.toggle("bad", price.error !== undefined);
    this.complaint = qty.error ?? price.error ?? "";
    this.limit = price.units > 0 ? price.units / 10 ** price_decimals : NaN;
    this.lots = qty.units ?? NaN;
    for (const id of ["ticket-buy", "ticket-sell"]) byId(id).lastElementChild.textContent = empty ? "market" : "limit";
    byId("ticket-market").hidden = empty;
    this.screen.dirty = true;
    return this.complaint === "" && !nothing ? { qty_lots: qty.units, limit_ticks: price.units } : null;
  }

  order(side) {
    if (!this.ready() || !this.reveal()) return;
    const order = this.check();
    if (order === null) {
      this.complaint ||= "Give a quantity";
      this.say();
      (this.price.classList.contains("bad") && !this.qty.classList.contains("bad") ? this.price : this.qty).focus();
      return;
    }
    setPreference(this.memory, this.qty.value.trim());
    const { price_decimals, qty_decimals } = this.feed;
    const at = order.limit_ticks > 0 ? `@ ${grouped(order.limit_ticks, price_decimals)}` : "at market";
    const text = `${side > 0 ? "Buy" : "Sell"} ${grouped(order.qty_lots, qty_decimals)} ${at}`;
    this.send({ kind: "order", side, ...order }, text, byId(side > 0 ? "ticket-buy" : "ticket-sell"));
  }

  cancel(order_id, button) {
    if (this.ready()) this.send({ kind: "cancel", order_id }, `Cancel of #${order_id}`, button);
  }

  cancelAll() {
    if (this.ready()) this.send({ kind: "cancel_all" }, "Cancel of all orders", byId("ticket-cancel-all"));
  }

  flatten() {
    if (this.ready()) this.send({ kind: "flatten" }, "Flatten", byId("ticket-flatten"));
  }

  ready() {
    if (!this.offered || this.screen.link.lost) return false;
    if (this.lookingBack) this.screen.toast("Looking back: jump to now to trade");
    return !this.lookingBack;
  }

  /** Show the column the ticket is in; false when it was hidden, for no one orders unseen. */
  reveal() {
    if (getComputedStyle(byId("side")).visibility !== "hidden") return true;
    document.body.classList.add("drawer");
    return false;
  }

  focus() {
    if (!this.offered || this.lookingBack) return;
    this.reveal();
    this.qty.focus();
    this.qty.select();
  }

  send(message, text, button) {
    if (button.classList.contains("busy")) return;
    const cmd_id = `${this.prefix}-${this.count++}`;
    this.sent.set(cmd_id, { text, button });
    button.classList.add("busy");
    this.screen.link.send({ ...message, cmd_id });
  }

  /** Take the answer to what was sent. */
  answered(kind, { cmd_id, order_id, reason }) {
    const asked = this.sent.get(cmd_id);
    if (asked === undefined) return;
    this.sent.delete(cmd_id);
    asked.button.classList.remove("busy");
    if (kind === "order_refused") this.screen.toast(`${asked.text} refused: ${reason}`);
    else this.screen.toast(`${asked.text} placed${order_id > 0 ? ` as #${order_id}` : ""}`, "quiet");
  }

  /** Bring the ticket up to date; called ten times a second. */
  update() {
    if (!this.offered) return;
    byId("ticket-fields").disabled = this.lookingBack;
    this.orders.update(this.screen.store.orders, this.feed);
    this.say();
  }

  say() {
    const { header } = this.screen.store;
    const price = Number.isNaN(this.limit) ? header?.last : this.limit;
    const value = (price * this.lots) / 10 ** this.feed.qty_decimals;
    const inverse = this.feed.market === "cm";
    const text = this.lookingBack
      ? "Looking back: jump to now to trade"
      : this.complaint || (value > 0 && !inverse ? `≈ ${decimal(value, 2)}` : "");
    const note = byId("ticket-note");
    if (note.textContent !== text) note.textContent = text;
    note.classList.toggle("bad", this.lookingBack || this.complaint !== "");
  }

  // A click with Shift on the price pane or its axis takes the price there over.
  wireClicks() {
    const pane = byId("pane-price");
    let from = null;
    pane.addEventListener("pointerdown", (event) => { from = event.shiftKey ? event : null; }, true);
    pane.addEventListener("pointerup", (event) => {
      const still = from !== null && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) < CLICK_PX;
      from = null;
      if (!still || !this.offered || this.lookingBack || !this.screen.store.hasTrades) return;
      const { top, height } = this.screen.frameOf("price");
      const share = (event.clientY - top) / height;
      const { camera, store } = this.screen;
      const ticks = Math.round((camera.top - share * (camera.top - camera.bottom)) * store.perPrice);
      if (share < 0 || share > 1 || ticks <= 0) return;
      this.setPrice(fromUnits(ticks, this.feed.price_decimals));
      this.reveal();
    }, true);
  }
}
