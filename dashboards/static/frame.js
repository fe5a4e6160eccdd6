// Decodes the binary frames of frames.py by the table that came with the page.

const ARRAYS = { f8: Float64Array, f4: Float32Array, u4: Uint32Array, u1: Uint8Array, i1: Int8Array };

/** Return {header, sections}; every column is a view on `buffer`. Throws on foreign bytes. */
export function decode(buffer, layout) {
  const view = new DataView(buffer);
  const header = {};
  let at = 0;
  for (const name of layout.counters) {
    header[name] = view.getUint32(at, true);
    at += 4;
  }
  if (header.magic !== layout.magic || header.version !== layout.version) {
    throw new Error(`not a frame of version ${layout.version}`);
  }
  for (const name of layout.numbers) {
    header[name] = view.getFloat64(at, true);
    at += 8;
  }
  for (const [name, bit] of Object.entries(layout.flags)) {
    header[name] = (header.flags & bit) !== 0;
  }
  const sections = {};
  for (const [section, name, type] of layout.columns) {
    const count = header[`${section}_count`];
    const column = new ARRAYS[type](buffer, at, count);
    at += column.byteLength;
    (sections[section] ??= { count })[name] = column;
  }
  if (at !== buffer.byteLength) {
    throw new Error(`a frame of ${buffer.byteLength} bytes describes ${at}`);
  }
  return { header, sections };
}
