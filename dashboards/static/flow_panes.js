// The panes under the price and the profile beside it.

const ROW_PX = 3;

/** Return the painters `delta`, `volume` and `profile` over what `screen` holds. */
export function flowPainters(screen) {
  const { store, camera } = screen;

  function columns(frame) {
    const all = store.candles;
    const step = all.spanMs / camera.msPerPx;
    return {
      all,
      first: Math.max(0, all.slotAt(camera.start) - 1),
      width: Math.max(1, Math.round(step) - (step > 5 ? 2 : step > 3 ? 1 : 0)),
      x: (ms) => frame.left + (ms - camera.start) / camera.msPerPx,
    };
  }

  function delta(ctx, frame) {
    if (!store.hasTrades) return;
    const { all, first, width, x } = columns(frame);
    const { ts, buy, sell, cum, length } = all;
    const middle = Math.round(frame.top + frame.height / 2);
    const half = frame.height / 2 - 4;
    ctx.fillStyle = screen.colours.hairline;
    ctx.fillRect(frame.left, middle, frame.width, 1);
    ctx.globalAlpha = 0.5;
    for (const side of ["buy", "sell"]) {
      ctx.fillStyle = screen.colours[side];
      for (let i = first; i < length && ts[i] <= camera.end; i++) {
        const value = buy[i] - sell[i];
        if (value > 0 !== (side === "buy") || value === 0) continue;
        const height = Math.max(1, Math.round((Math.abs(value) / screen.deltaPeak) * half));
        ctx.fillRect(Math.round(x(ts[i])), side === "buy" ? middle - height : middle + 1, width, height);
      }
    }
    ctx.globalAlpha = 1;
    const { start, end } = screen.ranges.delta;
    const ky = frame.height / (end - start);
    ctx.strokeStyle = screen.colours.delta;
    ctx.lineWidth = 1.5;
    ctx.lineJoin = "round";
    ctx.beginPath();
    for (let i = first; i < length && ts[i] <= camera.end; i++) {
      const at = Math.min(x(ts[i]) + width, x(screen.clock.now));
      const y = frame.top + (end - cum[i]) * ky;
      if (i === first) ctx.moveTo(at, y);
      else ctx.lineTo(at, y);
    }
    ctx.stroke();
    ctx.lineWidth = 1;
  }

  function volume(ctx, frame) {
    if (!store.hasTrades) return;
    const { all, first, width, x } = columns(frame);
    const { ts, buy, sell, length } = all;
    const ky = frame.height / screen.ranges.volume.end;
    const bottom = Math.round(frame.top + frame.height);
    ctx.globalAlpha = 0.75;
    for (const side of ["buy", "sell"]) {
      ctx.fillStyle = screen.colours[side];
      for (let i = first; i < length && ts[i] <= camera.end; i++) {
        const low = Math.round(buy[i] * ky);
        const high = Math.round((buy[i] + sell[i]) * ky);
        const left = Math.round(x(ts[i]));
        if (side === "buy") ctx.fillRect(left, bottom - low, width, low);
        else ctx.fillRect(left, bottom - high, width, high - low);
      }
    }
    ctx.globalAlpha = 1;
  }

  function profile(ctx, frame) {
    const { rows, low, high } = screen.profileRows(frame, ROW_PX);
    if (rows === null) return;
    const { top, left, width } = frame;
    let peak = 0;
    for (let i = 0; i < rows.buy.length; i++) peak = Math.max(peak, rows.buy[i] + rows.sell[i]);
    if (peak === 0) return;
    const kx = (width - 10) / peak;
    const ky = frame.height / (camera.top - camera.bottom);
    const y = (price) => Math.round(top + (camera.top - price) * ky);
    for (const side of ["buy", "sell"]) {
      ctx.fillStyle = screen.colours[side];
      for (let i = 0; i < rows.buy.length; i++) {
        if (rows.buy[i] + rows.sell[i] === 0) continue;
        const inArea = rows.price[i] >= low && rows.price[i] <= high;
        ctx.globalAlpha = inArea ? 0.7 : 0.32;
        const at = y(rows.price[i] + rows.size);
        const height = Math.max(1, y(rows.price[i]) - at - 1);
        const buy = Math.round(rows.buy[i] * kx);
        if (side === "buy") ctx.fillRect(left, at, buy, height);
        else ctx.fillRect(left + buy, at, Math.round(rows.sell[i] * kx), height);
      }
    }
    ctx.globalAlpha = 1;
    const poc = screen.valueArea.poc;
    if (Number.isFinite(poc)) {
      ctx.fillStyle = screen.colours.attention;
      ctx.fillRect(left, y(poc), width, 1);
    }
  }

  return { delta, volume, profile };
}

/** Point of control and the 70 % value area of a session's profile. */
export function valueArea(profile) {
  const { count, price, buy, sell } = profile;
  if (count === 0) return { poc: NaN, low: NaN, high: NaN };
  const size = Math.max(1, Math.ceil(count / 240));
  const bins = [];
  for (let i = 0; i < count; i += size) {
    let sum = 0;
    for (let j = i; j < Math.min(count, i + size); j++) sum += buy[j] + sell[j];
    bins.push(sum);
  }
  const total = bins.reduce((a, b) => a + b, 0);
  let at = 0;
  bins.forEach((value, i) => { if (value > bins[at]) at = i; });
  let [low, high, inside] = [at, at, bins[at]];
  while (inside < 0.7 * total && (low > 0 || high < bins.length - 1)) {
    const below = low > 0 ? bins[low - 1] : -1;
    const above = high < bins.length - 1 ? bins[high + 1] : -1;
    if (above >= below) inside += bins[++high];
    else inside += bins[--low];
  }
  const priceAt = (bin) => price[Math.min(count - 1, bin * size)];
  return {
    poc: price[Math.min(count - 1, at * size + (size >> 1))],
    low: priceAt(low),
    high: price[Math.min(count - 1, (high + 1) * size - 1)],
  };
}

/** Sum a profile into rows that are at least `rowPx` high on screen, from the lowest price up. */
export function profileRows(profile, step, camera, height, rowPx) {
  const { count, price, buy, sell } = profile;
  if (count === 0) return null;
  const perPx = (camera.top - camera.bottom) / height;
  const merge = Math.max(1, Math.ceil((rowPx * perPx) / step - 1e-9));
  const size = merge * step;
  const base = Math.floor(price[0] / size + 1e-6) * size;
  const first = Math.max(0, Math.floor((camera.bottom - base) / size));
  const last = Math.min(Math.floor((camera.top - base) / size), Math.floor((price[count - 1] - base) / size + 1e-6));
  if (last < first) return null;
  const rows = { size, price: [], buy: new Float64Array(last - first + 1), sell: new Float64Array(last - first + 1) };
  for (let row = first; row <= last; row++) rows.price.push(base + row * size);
  for (let i = 0; i < count; i++) {
    const row = Math.floor((price[i] - base) / size + 1e-6) - first;
    if (row >= 0 && row < rows.buy.length) {
      rows.buy[row] += buy[i];
      rows.sell[row] += sell[i];
    }
  }
  return rows;
}
