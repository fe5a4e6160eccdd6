// Decimal text to whole units of an instrument (ticks, lots) and back, digit by digit: no floats.

const PLAIN = /^(\d*)(?:\.(\d*))?$/;
const GROUPED = /^\d{1,3}(,\d{3})+(\.\d*)?$/;

/** Return {units} for text such as 0.5 or 64,210.1, or {error} in words about `what`. */
export function toUnits(text, decimals, what) {
  const trimmed = text.trim();
  const match = PLAIN.exec(GROUPED.test(trimmed) ? trimmed.replaceAll(",", "") : trimmed);
  const digits = match === null ? "" : match[1] + (match[2] ?? "");
  if (digits === "") return { error: `${what}: “${trimmed}” is no number such as 0.5` };
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  if (fraction.length > decimals) {
    return { error: decimals === 0 ? `${what} is a whole number here` : `${what} has at most ${decimals} decimals here` };
  }
  const units = Number(BigInt((match[1] || "0") + fraction.padEnd(decimals, "0")));
  if (!Number.isSafeInteger(units)) return { error: `${what} is too large` };
  if (units === 0) return { error: `${what} must be more than 0` };
  return { units };
}

/** The exact text of whole `units`, without zeros at its end: 64210.1. */
export function fromUnits(units, decimals) {
  const digits = String(units).padStart(decimals + 1, "0");
  const at = digits.length - decimals;
  const fraction = digits.slice(at).replace(/0+$/, "");
  return fraction === "" ? digits.slice(0, at) : `${digits.slice(0, at)}.${fraction}`;
}

/** The same for reading: 64,210.1. */
export function grouped(units, decimals) {
  const [whole, fraction] = fromUnits(units, decimals).split(".");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? text : `${text}.${fraction}`;
}
