// Keyboard: one listener, silent while a text field has the focus. Only keys with Shift trade, and
// they do so from the ticket's fields too, where no letter belongs.

const SPEED_KEYS = [1, 10, 60, 100, "max"];

/** Have `screen` obey the keys that its help lists. */
export function wireKeys(screen) {
  const { bar, ticket } = screen;
  const keys = {
    " ": () => bar.toggle(),
    ArrowRight: (event) => (event.shiftKey ? bar.seekBy(10000) : bar.step("bar")),
    ArrowLeft: (event) => bar.seekBy(event.shiftKey ? -10000 : -screen.store.feed.bar_ms),
    o: () => ticket.focus(),
    n: () => bar.toNow(),
    l: () => bar.lastMinutes(),
    ArrowUp: () => bar.shift(1),
    ArrowDown: () => bar.shift(-1),
    z: () => screen.resetView(),
    x: () => screen.toggleAuto(),
    c: () => screen.follow(),
    b: () => screen.toggleBubbles(),
    f: () => screen.nextFilter(),
    p: () => screen.cycleTheme("sides"),
    t: () => screen.cycleTheme("theme"),
    "?": () => screen.toggleHelp(),
    Escape: () => screen.closeOverlays(),
  };
  SPEED_KEYS.forEach((speed, i) => { keys[String(i + 1)] = () => bar.setSpeed(speed); });
  const trades = {
    b: () => ticket.order(1),
    s: () => ticket.order(-1),
    x: () => ticket.cancelAll(),
    f: () => ticket.flatten(),
  };
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || screen.store.header === null) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const types = event.target instanceof HTMLInputElement;
    if (ticket.offered && event.shiftKey && key in trades && (!types || ticket.holds(event.target))) {
      event.preventDefault();
      if (!event.repeat) trades[key]();
      return;
    }
    const act = keys[key];
    if (types || act === undefined) return;
    event.preventDefault();
    act(event);
  }, true);
}
