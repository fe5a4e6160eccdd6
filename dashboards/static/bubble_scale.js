// How large a bubble is: its area is its quantity, measured against the market's recent sizes.

const BINS_PER_OCTAVE = 4;
const BINS = 64 * BINS_PER_OCTAVE;
const MEMORY = 20000; // bubbles
const LARGE_PX = 20; // radius of the 99th percentile where there is room
const MAX_PX = 34;
const MIN_PX = 0.8;

export class BubbleScale {
  constructor() {
    this.clear();
  }

  clear() {
    this.bins = new Float64Array(BINS);
    this.total = 0;
    this.unit = NaN; // the quantity that is drawn with the radius LARGE_PX * crowding
    this.crowding = 1;
  }

  /** Count the bubbles in slots [from, to). */
  learn(bubbles, from, to) {
    for (let i = Math.max(from, to - MEMORY); i < to; i++) {
      this.bins[bin(bubbles.qty[i])] += 1;
      this.total += 1;
    }
    if (this.total > 2 * MEMORY) {
      for (let i = 0; i < BINS; i++) this.bins[i] *= 0.5;
      this.total *= 0.5;
    }
  }

  quantile(share) {
    let left = this.total * (1 - share);
    for (let i = BINS - 1; i >= 0; i--) {
      left -= this.bins[i];
      if (left < 0) return 2 ** ((i + 0.5) / BINS_PER_OCTAVE - 24);
    }
    return NaN;
  }

  /** Adapt in steps to the sizes and to how many bubbles are in view; true when radii changed. */
  adapt(visibleCount) {
    const unit = this.quantile(0.99);
    if (Number.isNaN(unit)) return false;
    const crowding = Math.min(1, Math.max(0.4, Math.sqrt(2500 / Math.max(1, visibleCount))));
    const sameUnit = unit < this.unit * 1.45 && unit > this.unit / 1.45;
    const sameCrowding = Math.abs(crowding / this.crowding - 1) < 0.2;
    if (sameUnit && sameCrowding) return false;
    this.unit = unit;
    this.crowding = crowding;
    return true;
  }

  /** Bubbles are thinner where they crowd, so that the candles show through. */
  get opacity() {
    return 0.55 + 0.45 * this.crowding;
  }

  radius(qty) {
    const r = LARGE_PX * this.crowding * Math.sqrt(qty / this.unit);
    return r > MAX_PX ? MAX_PX : r < MIN_PX ? MIN_PX : r;
  }

  /** The quantity whose radius is `px`. */
  quantityAt(px) {
    return (px / (LARGE_PX * this.crowding)) ** 2 * this.unit;
  }
}

function bin(qty) {
  const at = Math.floor((Math.log2(Math.max(qty, 1e-7)) + 24) * BINS_PER_OCTAVE);
  return at < 0 ? 0 : at >= BINS ? BINS - 1 : at;
}

export const BIGGEST_PX = MAX_PX;
