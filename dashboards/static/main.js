// Starts the screen: registers the layer, embeds the Bokeh document, and begins.

import { decode } from "./frame.js";
import { wireKeys } from "./keys.js";
import { registerLayer } from "./layer.js";
import { Link } from "./link.js";
import { Screen } from "./screen.js";
import { wireSplitters } from "./splitters.js";

const boot = JSON.parse(document.getElementById("boot").textContent);
const { Bokeh } = window;

Bokeh.set_log_level("warn");
registerLayer(Bokeh);

const item = { token: boot.token, roots: boot.roots, root_ids: Object.keys(boot.roots) };
await Bokeh.embed.embed_items({}, [item], "/");

const views = {};
for (const [pane, id] of Object.entries(boot.panes)) views[pane] = Bokeh.index.get_by_id(id);
const link = new Link(Bokeh, views.price.model.document);
const screen = new Screen(boot, link, views);
link.watch(document.getElementById("lost"), document.getElementById("lost-text"));
wireKeys(screen);
wireSplitters();
screen.start();

window.flowtape = { screen, stats: screen.stats, decode, layout: boot.layout };
