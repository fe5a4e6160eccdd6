// Buttons, and the hands that drag and zoom the charts.

const byId = (id) => document.getElementById(id);

export function wireControls(screen, spanNames) {
  byId("symbols").classList.toggle("many", screen.boot.feeds.length > 1);
  screen.boot.feeds.forEach((feed, i) => {
    const button = document.createElement("button");
    const market = document.createElement("small");
    button.textContent = feed.symbol;
    market.textContent = `${feed.venue} ${feed.market}`;
    button.append(market);
    button.onclick = () => screen.select(i);
    byId("symbols").append(button);
  });
  for (const name of spanNames) {
    const chip = document.createElement("button");
    chip.textContent = name;
    chip.onclick = () => screen.setSpan(name);
    byId("spans").append(chip);
  }
  byId("toggle-bubbles").onclick = () => screen.toggleBubbles();
  byId("toggle-auto").onclick = () => screen.toggleAuto();
  byId("toggle-sides").onclick = () => screen.cycleTheme("sides");
  byId("toggle-theme").onclick = () => screen.cycleTheme("theme");
  byId("toggle-help").onclick = () => screen.toggleHelp();
  byId("toggle-drawer").onclick = () => document.body.classList.toggle("drawer");
  byId("filter").onclick = () => screen.nextFilter();
  byId("live").onclick = () => screen.follow();
  for (const button of document.querySelectorAll("button")) {
    button.addEventListener("pointerup", () => button.blur()); // so that Space stays play
  }
}

/** Our own changes of ranges are silent, so every signal of one is a person's hand. */
export function wireRanges(screen) {
  const { x_range, y_range } = screen.views.price.model;
  x_range.change.connect(() => screen.takeX(x_range.start, x_range.end));
  y_range.change.connect(() => screen.takeY(y_range.start, y_range.end));

  // Bokeh's wheel zooms time only; over the price axis it is ours and scales the price.
  const pane = byId("pane-price");
  const axisBox = (event) => {
    const box = screen.frameOf("price");
    return event.clientX >= box.left + box.width ? box : null;
  };
  const scale = (event) => {
    const box = axisBox(event);
    if (box === null) return;
    event.preventDefault();
    event.stopPropagation();
    const { top, bottom } = screen.camera;
    const at = top - ((event.clientY - box.top) / box.height) * (top - bottom);
    const factor = Math.exp(Math.max(-200, Math.min(200, event.deltaY)) / 600);
    screen.takeY(at - (at - bottom) * factor, at + (top - at) * factor);
  };
  pane.addEventListener("wheel", scale, { capture: true, passive: false });
  pane.addEventListener("dblclick", (event) => {
    if (axisBox(event) !== null) screen.camera.autoY = true;
  });
}
