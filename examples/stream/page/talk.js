// A conversation as the page knows it: what the backend knew when it was asked, and what the channel has told since. Says when the two do not meet, so that no token
// is missing or there twice without a word. Knows nothing of how it looks.

export class Talk {
  turns = [];

  /** Begins with what the backend says. */
  begin({ turns }) {
    this.turns = turns.map((turn) => ({ ...turn, tokens: [...turn.tokens] }));
  }

  get last() {
    return this.turns.at(-1);
  }

  get isBusy() {
    return this.last?.state === "answers";
  }

  /** Answers false if something before this is missing. */
  take({ event, data }) {
    if (event === "asked") {
      if (this.isBusy && this.last.prompt === data.prompt && this.last.tokens.length === 0) return true;
      this.turns.push({ prompt: data.prompt, tokens: [], state: "answers" });
      return true;
    }
    if (!this.last) return false;
    if (event === "end") this.last.state = data.state;
    if (event !== "tokens") return true;
    const have = this.last.tokens.length;
    if (data.from > have) return false;
    // What the backend had told already comes once more where a page was told afresh between two publications.
    this.last.tokens.push(...data.tokens.slice(have - data.from));
    return true;
  }
}
