// Growing columns of numbers, numbered from the first row ever added.

export class Columns {
  /** `types` maps column names to typed arrays; the newest `keep` rows survive. */
  constructor(types, keep) {
    this.types = types;
    this.keep = keep;
    this.clear();
  }

  clear() {
    this.capacity = 4096;
    this.base = 0; // absolute number of the row in slot 0
    this.length = 0;
    for (const [name, Type] of Object.entries(this.types)) this[name] = new Type(this.capacity);
  }

  /** Absolute number behind the newest row. */
  get end() {
    return this.base + this.length;
  }

  append(section) {
    const count = section.count;
    if (count === 0) return;
    this.reserve(count);
    for (const name of Object.keys(this.types)) this[name].set(section[name], this.length);
    this.length += count;
  }

  /** Make room for `count` more rows, at the cost of the oldest when there are too many. */
  reserve(count) {
    if (this.length + count <= this.capacity) return;
    const kept = Math.min(this.length, this.keep);
    const drop = this.length - kept;
    while (this.capacity < Math.max(kept + count, 2 * kept)) this.capacity *= 2;
    for (const [name, Type] of Object.entries(this.types)) {
      const old = this[name];
      const column = old.length === this.capacity ? old : new Type(this.capacity);
      if (column === old) column.copyWithin(0, drop, this.length);
      else column.set(old.subarray(drop, this.length));
      this[name] = column;
    }
    this.base += drop;
    this.length = kept;
  }

  /** First slot whose `ts` is not before `ms`. */
  slotAt(ms) {
    return lowerBound(this.ts, this.length, ms);
  }
}

/** First index of a sorted array, within `length`, whose value is not below `value`. */
export function lowerBound(array, length, value) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
