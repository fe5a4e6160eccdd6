// Numbers and times as people read them. All times are UTC.

const fixed = new Map();

/** Decimal text with thousands separators and exactly `decimals` decimals. */
export function decimal(value, decimals) {
  if (!Number.isFinite(value)) return "–";
  let format = fixed.get(decimals);
  if (format === undefined) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    format = new Intl.NumberFormat("en-US", digits);
    fixed.set(decimals, format);
  }
  return format.format(value);
}

/** Three significant digits with k, m or b: 12.3k. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  for (const [unit, name] of [[1e9, "b"], [1e6, "m"], [1e3, "k"]]) {
    if (size >= unit * 0.9995) return trim(value / unit) + name;
  }
  return trim(value);
}

function trim(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  const decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)));
  const text = value.toFixed(decimals);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** With a sign that is always there: +12.3k, −4. */
export function signed(value) {
  if (!Number.isFinite(value)) return "–";
  return (value > 0 ? "+" : value < 0 ? "−" : "") + short(Math.abs(value));
}

const two = (n) => String(n).padStart(2, "0");

export function clockText(ms) {
  if (!Number.isFinite(ms) || ms <= 0) return "--:--:--";
  const d = new Date(ms);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
}

export function clockTextMs(ms) {
  if (!Number.isFinite(ms) || ms <= 0) return "--:--:--.---";
  return `${clockText(ms)}.${String(new Date(ms).getUTCMilliseconds()).padStart(3, "0")}`;
}

/** With microseconds, which a float64 of milliseconds still resolves. */
export function clockTextUs(ms) {
  const us = Math.round(ms * 1000);
  const rest = ((us % 1e6) + 1e6) % 1e6;
  return `${clockText((us - rest) / 1000)}.${String(rest).padStart(6, "0")}`;
}

export function dateText(ms) {
  if (!Number.isFinite(ms) || ms <= 0) return "";
  return new Date(ms).toISOString().slice(0, 10);
}

/** A length of time in its two largest units: 45 s, 12 m 30 s, 2 h 05 m, 3 d 4 h. */
export function spanText(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  const m = Math.floor(s / 60);
  if (m < 1440) return `${Math.floor(m / 60)} h ${two(m % 60)} m`;
  return `${Math.floor(m / 1440)} d ${Math.floor((m % 1440) / 60)} h`;
}

export function speedText(speed) {
  return Number.isFinite(speed) ? `${speed}×` : "max";
}
