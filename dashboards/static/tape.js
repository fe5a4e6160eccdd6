// Time and sales: a fixed pool of rows whose text is rewritten, newest first.

import { clockTextMs, decimal, short } from "./format.js";

const ROW_PX = 19;

export class Tape {
  constructor(element, store, scale) {
    this.element = element;
    this.store = store;
    this.scale = scale;
    this.rows = [];
    this.minQty = 0;
    this.shownEnd = -1;
    new ResizeObserver(() => this.fit()).observe(element);
  }

  fit() {
    const wanted = Math.ceil(this.element.clientHeight / ROW_PX);
    while (this.rows.length < wanted) {
      const element = document.createElement("div");
      const cells = Array.from({ length: 4 }, () => element.appendChild(document.createElement("span")));
      this.element.append(element);
      this.rows.push({ element, cells, texts: ["", "", "", ""], className: "" });
    }
    while (this.rows.length > wanted) this.rows.pop().element.remove();
    this.shownEnd = -1;
  }

  update() {
    const { prints, feed, generation } = this.store;
    const mark = prints.end + generation * 1e9 + this.minQty;
    if (mark === this.shownEnd || feed === null) return;
    this.shownEnd = mark;
    const large = this.scale.quantile(0.9);
    const huge = this.scale.quantile(0.99);
    this.rows.forEach((row, n) => {
      const slot = prints.length - 1 - n;
      if (slot < 0) {
        write(row, "row", ["", "", "", ""]);
        return;
      }
      const qty = prints.qty[slot];
      const buys = prints.side[slot] > 0;
      const tier = qty >= huge ? " tier2" : qty >= large ? " tier1" : "";
      const dimmed = qty < this.minQty ? " dimmed" : "";
      write(row, `row ${buys ? "buy" : "sell"}${tier}${dimmed}`, [
        clockTextMs(prints.ts[slot]),
        decimal(prints.price[slot], feed.price_decimals),
        short(qty),
        buys ? "▲" : "▼",
      ]);
    });
  }
}

function write(row, className, texts) {
  if (row.className !== className) row.element.className = row.className = className;
  texts.forEach((text, i) => {
    if (row.texts[i] !== text) row.cells[i].textContent = row.texts[i] = text;
  });
}
