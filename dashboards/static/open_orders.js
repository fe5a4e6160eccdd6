// The list of open orders under the ticket. Its rows stay who they are while they are on screen, so
// that a click meant for one order never reaches another.

import { decimal, short } from "./format.js";

const KINDS = ["", "", "stop ", "stop ", "target ", "target ", "trail "];

export class OpenOrders {
  constructor(element, cancel) {
    this.element = element;
    this.cancel = cancel;
    this.rows = new Map();
  }

  /** Show `orders`, a section of a frame, in the decimals of `feed`. */
  update(orders, feed) {
    const open = new Set();
    for (let i = 0; i < orders.count; i++) {
      const id = orders.id[i];
      open.add(id);
      let row = this.rows.get(id);
      if (row === undefined) {
        row = this.add(id, orders.side[i] > 0);
        this.rows.set(id, row);
      }
      const kind = KINDS[orders.order_kind[i]] ?? "";
      const price = orders.price[i] > 0 ? decimal(orders.price[i], feed.price_decimals) : "market";
      const text = `${short(orders.remaining[i])} @ ${kind}${price}`;
      if (row.text.textContent !== text) row.text.textContent = text;
      row.element.classList.toggle("pending", orders.stage[i] === 0);
    }
    for (const [id, { element }] of this.rows) {
      if (open.has(id)) continue;
      element.remove();
      this.rows.delete(id);
    }
  }

  add(id, buys) {
    const element = document.createElement("li");
    const [side, text, number, button] = ["i", "span", "em", "button"].map((tag) =>
      element.appendChild(document.createElement(tag)));
    element.className = buys ? "up" : "down";
    side.textContent = buys ? "▲" : "▼";
    number.textContent = `#${id}`;
    button.textContent = "×";
    button.title = `cancel order #${id}`;
    button.onclick = () => this.cancel(id, button);
    button.onpointerup = () => button.blur();
    this.element.append(element);
    return { element, text };
  }
}
