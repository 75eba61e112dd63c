// Where everybody is at a moment: the others between what was heard of them, the own player where the keys and the pointer take it. Knows
// nothing of channels and of drawing.

/** Fields in a second. */
const SPEED = 0.42;
/** For so long a player is drawn further in its direction when nothing new has come. */
const GUESS_S_MAX = 0.25;
/** How fast a drawn place comes to where it should be: in so many seconds two thirds of the way. */
const SMOOTH_S = 0.07;

export class Others {
  /** By key: what was heard last, when, and where it is drawn. */
  all = new Map();
  /** Who is on the field. What waited for a rate may come behind the word that its publisher has left. */
  present = new Set();

  hear(key, place, publisher, now) {
    if (!this.present.has(publisher)) return;
    const known = this.all.get(key);
    const drawn = known?.drawn ?? { x: place.x, y: place.y };
    this.all.set(key, { ...place, publisher, heardAt: now, drawn, trail: known?.trail ?? [] });
  }

  join(publisher) {
    this.present.add(publisher);
  }

  leave(publisher) {
    this.present.delete(publisher);
    for (const [key, player] of this.all) if (player.publisher === publisher) this.all.delete(key);
  }

  keepOnly(publishers) {
    this.present = publishers;
    for (const [key, { publisher }] of this.all) if (!publishers.has(publisher)) this.all.delete(key);
  }

  /** Moves everybody on. True while somebody is not yet where it should be. */
  step(now, seconds) {
    let moving = false;
    for (const player of this.all.values()) {
      const guess = Math.min((now - player.heardAt) / 1000, GUESS_S_MAX);
      const x = within(player.x + player.dx * guess);
      const y = within(player.y + player.dy * guess);
      const way = 1 - Math.exp(-seconds / SMOOTH_S);
      player.drawn = { x: player.drawn.x + (x - player.drawn.x) * way, y: player.drawn.y + (y - player.drawn.y) * way };
      leaveTrail(player, now);
      moving ||= player.trail.length > 0 || Math.hypot(x - player.drawn.x, y - player.drawn.y) > 0.0005;
    }
    return moving;
  }
}

export class Own {
  dx = 0;
  dy = 0;
  trail = [];
  keys = new Set();
  /** Where a finger or the mouse is pressed. */
  target = null;

  constructor(name, hue) {
    // Somewhere in the middle, so that two do not begin at one place.
    const [x, y] = [0.3 + Math.random() * 0.4, 0.3 + Math.random() * 0.4];
    Object.assign(this, { name, hue, x, y });
  }

  get drawn() {
    return this;
  }

  step(now, seconds) {
    const [dx, dy] = this.direction(seconds);
    const far = Math.hypot(dx, dy);
    this.dx = far > 0 ? (dx / far) * SPEED : 0;
    this.dy = far > 0 ? (dy / far) * SPEED : 0;
    this.x = within(this.x + this.dx * seconds);
    this.y = within(this.y + this.dy * seconds);
    leaveTrail(this, now);
    return far > 0 || this.trail.length > 0;
  }

  direction(seconds) {
    if (this.target) {
      const [dx, dy] = [this.target.x - this.x, this.target.y - this.y];
      return Math.hypot(dx, dy) <= SPEED * seconds ? [0, 0] : [dx, dy];
    }
    const pressed = (...names) => Number(names.some((name) => this.keys.has(name)));
    return [pressed("ArrowRight", "KeyD") - pressed("ArrowLeft", "KeyA"), pressed("ArrowDown", "KeyS") - pressed("ArrowUp", "KeyW")];
  }
}

const TRAIL_MS = 700;

function leaveTrail(player, now) {
  const last = player.trail.at(-1);
  const { x, y } = player.drawn;
  if (!last || Math.hypot(last.x - x, last.y - y) > 0.004) player.trail.push({ x, y, at: now });
  while (player.trail.length > 0 && now - player.trail[0].at > TRAIL_MS) player.trail.shift();
}

const within = (value) => Math.min(1, Math.max(0, value));
