// What a transcript says beside what happened. Owns the forms of expectation; knows nothing of sockets.
//
// A string that begins with `$` is a name: where something is awaited it stands for anything, which it is from then on; where something is
// said, it is replaced. `{"$max": n}` and `{"$min": n}` await a number; `{"$any": true}` anything at all.

/** Why `actual` is not what is awaited, or `null`. `exact`: members that are not awaited must not be there. Names are bound in `names`. */
export function differs(awaited, actual, names, exact, path = "") {
  if (typeof awaited === "string" && awaited.startsWith("$")) {
    if (!names.has(awaited)) names.set(awaited, actual);
    return same(names.get(awaited), actual) ? null : `${path || "it"} is ${show(actual)}, and ${awaited} is ${show(names.get(awaited))}`;
  }
  if (isObject(awaited) && "$any" in awaited) return actual === undefined ? `${path} is missing` : null;
  if (isObject(awaited) && ("$max" in awaited || "$min" in awaited)) {
    const { $min: min = -Infinity, $max: max = Infinity } = awaited;
    return typeof actual === "number" && actual >= min && actual <= max ? null : `${path} is ${show(actual)}, not in ${show(awaited)}`;
  }
  if (Array.isArray(awaited)) {
    if (!Array.isArray(actual) || actual.length !== awaited.length) return `${path || "it"} is ${show(actual)}, not ${show(awaited)}`;
    return first(awaited, (one, index) => differs(one, actual[index], names, exact, `${path}[${index}]`));
  }
  if (isObject(awaited)) {
    if (!isObject(actual)) return `${path || "it"} is ${show(actual)}, not ${show(awaited)}`;
    const more = exact ? Object.keys(actual).filter((name) => !(name in awaited)) : [];
    if (more.length > 0) return `${path || "it"} has ${more.map((name) => `"${name}": ${show(actual[name])}`).join(", ")} beside what is awaited`;
    return first(Object.keys(awaited), (name) => differs(awaited[name], actual[name], names, exact, path ? `${path}.${name}` : name));
  }
  return same(awaited, actual) ? null : `${path || "it"} is ${show(actual)}, not ${show(awaited)}`;
}

/** What is said, with the names replaced. A member that stands for something absent is left out. */
export function filled(said, names) {
  if (typeof said === "string" && names.has(said)) return names.get(said);
  if (Array.isArray(said)) return said.map((one) => filled(one, names));
  if (!isObject(said)) return said;
  return Object.fromEntries(Object.entries(said).map(([name, value]) => [name, filled(value, names)]));
}

export function show(value) {
  return value === undefined ? "absent" : JSON.stringify(value);
}

function first(list, find) {
  for (const [index, one] of list.entries()) {
    const found = find(one, index);
    if (found !== null) return found;
  }
  return null;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
