// A player's place as bytes: where, how fast, which colour, and the name. Ten bytes and the name, where JSON would take a hundred.
//
// | bytes | |
// |---|---|
// | 0–3 | x and y, two unsigned integers of 16 bits, big-endian: 0 is one edge of the field, 65535 the other |
// | 4–7 | the speed in both directions, two signed integers of 16 bits: fields in a second, times 8192 |
// | 8 | the hue, in steps of 360/256 degrees |
// | 9 | 1 while the player moves, else 0 |
// | 10– | the name, UTF-8 |

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
const SPEED = 8192;
const NAME_MAX = 24;

export function encode({ x, y, dx, dy, hue, name }) {
  const letters = ENCODER.encode(name);
  const bytes = new Uint8Array(10 + letters.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.round(x * 65535));
  view.setUint16(2, Math.round(y * 65535));
  view.setInt16(4, Math.round(dx * SPEED));
  view.setInt16(6, Math.round(dy * SPEED));
  view.setUint8(8, Math.round((hue / 360) * 256) % 256);
  view.setUint8(9, dx !== 0 || dy !== 0 ? 1 : 0);
  bytes.set(letters, 10);
  return bytes;
}

/** `null` for what is no place. */
export function decode(bytes) {
  if (!(bytes instanceof Uint8Array) || bytes.length < 10) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    x: view.getUint16(0) / 65535,
    y: view.getUint16(2) / 65535,
    dx: view.getInt16(4) / SPEED,
    dy: view.getInt16(6) / SPEED,
    hue: (view.getUint8(8) / 256) * 360,
    name: DECODER.decode(bytes.subarray(10)).slice(0, NAME_MAX),
  };
}
