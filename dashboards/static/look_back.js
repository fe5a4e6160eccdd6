// Says that the screen shows the past of a session that goes on, and how far behind it is.

import { spanText } from "./format.js";

const byId = (id) => document.getElementById(id);

export class LookBack {
  constructor(screen) {
    this.screen = screen;
  }

  /** Bring the sign up to date; called ten times a second. */
  update() {
    const { header } = this.screen.store;
    if (header === null) return;
    const { looking_back, now_ms } = header;
    document.body.classList.toggle("looking-back", looking_back);
    byId("look-back").hidden = !looking_back;
    byId("live").textContent = header.live && !looking_back ? "▶ live" : "▶ follow";
    const text = `${spanText(now_ms - this.screen.clock.now)} behind now`;
    if (looking_back && byId("behind").textContent !== text) byId("behind").textContent = text;
  }
}
