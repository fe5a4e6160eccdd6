// Keyboard: one listener, silent while a text field has the focus.

const SPEED_KEYS = [1, 10, 60, 100, "max"];

/** Have `screen` obey the keys that its help lists. */
export function wireKeys(screen) {
  const { bar } = screen;
  const keys = {
    " ": () => bar.toggle(),
    ArrowRight: (event) => (event.shiftKey ? bar.seekBy(10000) : bar.step("bar")),
    ArrowLeft: (event) => bar.seekBy(event.shiftKey ? -10000 : -screen.store.feed.bar_ms),
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
  window.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act === undefined || screen.store.header === null) return;
    event.preventDefault();
    act(event);
  }, true);
}
