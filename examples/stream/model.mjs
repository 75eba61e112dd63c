// A toy that writes: each next word is one that followed the last two somewhere in a small text. It stands where an application calls its model, and has the same
// shape: tokens, one after the other, until it ends or nobody wants them any longer. Knows nothing of who reads them.

const TEXT = `
A river does not hurry and yet it arrives. The water that you see at the bridge is not the water that you saw in the morning, but the river is the same. A stream of
words is like that. It begins before the whole is known, and whoever reads along at the bank sees each word as it comes by. If you look away for a moment the words go on.
If you come back you want the words that went by while you were away, each of them once, and in the order in which they came. The one who speaks does not wait for
the one who listens, and does not speak again because somebody was away. So there has to be a place where the words are kept for a while. The place is a channel with a
history, and the mark at which you stopped reading is a position. With a position in your hand you can go to the channel and say that you were here. The channel answers
with what you have missed, and then with what comes. When the history is gone there is still the one who spoke, and who knows everything that was said until now. In the
morning the river is low and slow. In the evening it carries leaves from the hills and a boat from the town. Nobody who stands at the bank has to know where the water
comes from. Nobody who reads along has to know which server the words came through. The boat is the same boat in the morning and in the evening, and the one who sits in
it has a lamp, a loaf of bread and a long letter. The letter begins with the weather and ends with a question. Whoever reads the letter slowly understands the question
better. A slow reader does not hold up a fast one, and a fast one does not make the slow one miss a line. At night the boat is tied to the bridge, and the words rest
until somebody asks again.
`;

const words = TEXT.trim().split(/\s+/);
const following = new Map();
for (let at = 0; at + 2 < words.length; at += 1) {
  const pair = `${words[at]} ${words[at + 1]}`;
  following.set(pair, [...(following.get(pair) ?? []), words[at + 2]]);
}

/** About so many tokens for a prompt; the same prompt gives the same tokens. */
export function* tokens(prompt, count) {
  const chance = dice(prompt);
  const starts = words.flatMap((word, at) => (/^[A-Z]/.test(word) && at + 2 < words.length ? [at] : []));
  let [one, other] = [null, null];
  for (let given = 0; ; ) {
    const choices = following.get(`${one} ${other}`);
    const ends = one === null || /[.]$/.test(other);
    if (given >= count && ends) return;
    let word;
    if (!choices) {
      const start = starts[Math.floor(chance() * starts.length)];
      [one, other] = [words[start], words[start + 1]];
      word = `${one} ${other}`;
    } else {
      word = choices[Math.floor(chance() * choices.length)];
      [one, other] = [other, word];
    }
    // As models have it: a long word is several tokens.
    for (const token of ` ${word}`.match(/ ?.{1,6}/g)) {
      given += 1;
      yield token;
    }
  }
}

/** Numbers from 0 to 1 that follow from a text (mulberry32). */
function dice(text) {
  let state = 1;
  for (const letter of text) state = (Math.imul(state, 31) + letter.codePointAt(0)) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
