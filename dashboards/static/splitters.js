// The bars between panes that are dragged to share out the height.

const LEAST_PX = 56;

export function wireSplitters() {
  const main = document.querySelector("main");
  for (const bar of document.querySelectorAll(".splitter")) {
    const name = bar.dataset.size;
    bar.onpointerdown = (event) => {
      bar.setPointerCapture(event.pointerId);
      const from = event.clientY;
      const height = parseFloat(getComputedStyle(main).getPropertyValue(name));
      const most = main.clientHeight * 0.4;
      bar.onpointermove = (move) => {
        const wanted = height + from - move.clientY;
        main.style.setProperty(name, `${Math.round(Math.min(most, Math.max(LEAST_PX, wanted)))}px`);
      };
      bar.onpointerup = () => { bar.onpointermove = null; };
    };
  }
}
