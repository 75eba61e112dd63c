// How long to wait before trying again. Randomness is given.

/** Full jitter: anything from nothing up to `base` · 2^`attempt`, and to `max`. `random` gives numbers from 0 to 1, without 1. */
export function fullJitter(random: () => number, base: number, max: number, attempt: number): number {
  return random() * Math.min(max, base * 2 ** Math.min(attempt, 64));
}
