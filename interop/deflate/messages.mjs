// The messages that every check of compression sends. Owns nothing else.

import { randomBytes } from "node:crypto";

const MIB = 1 << 20;
export const JSON_TEXT = '{"type":"message","channel":"room:42","data":{"user":"ann","text":"κόσμε — 🌍"}}';

/** Such as shrink, such as do not, such as look back to those before; empty and large ones. */
export function messages() {
  return [
    "",
    "a",
    JSON_TEXT,
    JSON_TEXT,
    Buffer.alloc(0),
    randomBytes(100),
    JSON_TEXT.repeat(50),
    randomBytes(70_000),
    JSON_TEXT,
    Buffer.alloc(100_000),
    "🌍 ".repeat(MIB / 5),
    randomBytes(MIB),
    JSON_TEXT,
  ];
}
