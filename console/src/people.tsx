// Who is present on the channel.

import type { Member } from "./room";

const SHOWN_MAX = 100;

export function People({ members, self, connected }: { members: Member[] | null; self: string | null; connected: boolean }) {
  const sorted = [...(members ?? [])].sort((one, other) => Number(other.user === self) - Number(one.user === self) || one.user.localeCompare(other.user));
  return (
    <aside class="people" aria-labelledby="people-title">
      <h3 id="people-title">
        Present{members && connected && <span class="number muted"> {members.length}</span>}
      </h3>
      {members === null ? (
        <p class="muted">Your token gives no right to see who is present.</p>
      ) : !connected ? (
        <p class="muted">Not known while there is no connection.</p>
      ) : (
        <ul>
          {sorted.slice(0, SHOWN_MAX).map(({ user }) => (
            <li key={user}>
              <span class="dot" aria-hidden="true" style={nameStyle(user, "background")} />
              <span class="who" title={user}>
                {user}
              </span>
              {user === self && <span class="muted">you</span>}
            </li>
          ))}
          {sorted.length > SHOWN_MAX && <li class="muted">and {sorted.length - SHOWN_MAX} more</li>}
        </ul>
      )}
    </aside>
  );
}

/** A colour of a name's own, as light as the theme wants it. */
export function nameStyle(name: string, property: "color" | "background" = "color"): Record<string, string> {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return { [property]: `oklch(var(--name-light) var(--name-chroma) ${(hash % 24) * 15})` };
}
