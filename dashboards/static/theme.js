// Themes and colours of the two sides; remembered by this browser.

import { setPreference, preference } from "./preferences.js";

export class Theme {
  constructor(themes) {
    this.themes = themes;
    this.theme = preference("theme", Object.keys(themes), "dark");
    this.sides = preference("sides", Object.keys(themes.dark), "teal");
  }

  get colours() {
    return this.themes[this.theme][this.sides];
  }

  cycle(what) {
    const names = what === "theme" ? Object.keys(this.themes) : Object.keys(this.themes[this.theme]);
    this[what] = names[(names.indexOf(this[what]) + 1) % names.length];
    setPreference(what, this[what]);
  }

  /** Colour the page and Bokeh's axes and grids. */
  apply(views) {
    const root = document.documentElement;
    root.dataset.theme = this.theme;
    root.dataset.sides = this.sides;
    const { dim, grid } = this.colours;
    for (const { model } of Object.values(views)) {
      for (const part of [...model.center, ...model.right, ...model.below]) {
        if ("grid_line_color" in part) part.setv({ grid_line_color: grid }, { sync: false });
        if ("major_label_text_color" in part) part.setv({ major_label_text_color: dim }, { sync: false });
      }
    }
  }
}
