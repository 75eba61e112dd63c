// Programs to copy, in tabs. The token in them is the reader's own: in development one that the server makes for the name.

import { useEffect, useRef, useState } from "preact/hooks";
import { fetchToken, type App, type Info } from "./api";
import { addressOf, type Seat } from "./app";
import { CopyButton } from "./copy_button";
import { snippets, type Snippet } from "./snippets";

export function SnippetsPanel({ info, app, seat }: { info: Info; app: App; seat: Seat }) {
  const token = useToken(info, app, seat);
  const all = snippets({
    ws: addressOf(info, app),
    raw: info.addresses.raw,
    api: info.addresses.api,
    channel: seat.channel,
    token,
    apiKey: info.api_key,
    appKey: app.default ? null : app.key,
    key: app.key,
  });
  const [chosen, choose] = useState(all[0]?.id);
  const tabs = useRef<HTMLDivElement>(null);
  const shown = all.find(({ id }) => id === chosen);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = all.findIndex(({ id }) => id === chosen);
    const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : step && (at + step + all.length) % all.length;
    if (next === undefined) return;
    event.preventDefault();
    choose(all[next]?.id);
    tabs.current?.querySelectorAll("button")[next]?.focus();
  };
  return (
    <section class="card snippets" aria-labelledby="snippets-title">
      <div class="title">
        <h2 id="snippets-title">Connect from your code</h2>
        <span class="muted">with your addresses, channel and token</span>
        <span class="stretch" />
        {shown && <CopyButton key={shown.id} text={shown.code} what={`the ${shown.title} snippet`} label="Copy" />}
      </div>
      <div class="tabs" role="tablist" aria-labelledby="snippets-title" ref={tabs} onKeyDown={onKeyDown}>
        {all.map(({ id, title }) => (
          <button key={id} id={`tab-${id}`} type="button" role="tab" aria-selected={id === chosen} aria-controls="snippet" tabIndex={id === chosen ? 0 : -1} onClick={() => choose(id)}>
            {title}
          </button>
        ))}
      </div>
      {shown && (
        <pre id="snippet" role="tabpanel" aria-labelledby={`tab-${shown.id}`} tabIndex={0}>
          <Code snippet={shown} />
        </pre>
      )}
    </section>
  );
}

function Code({ snippet: { code, comment } }: { snippet: Snippet }) {
  const lines = code.trimEnd().split("\n");
  return (
    <code>
      {lines.map((line, index) => (
        <span key={index} class={line.startsWith(comment) ? "comment" : undefined}>
          {line + (index < lines.length - 1 ? "\n" : "")}
        </span>
      ))}
    </code>
  );
}

/** A token for the snippets: the reader's, or one made for the name, or none where guests may connect. */
function useToken(info: Info, app: App, seat: Seat): string | null {
  const brought = seat.token.trim();
  const [made, setMade] = useState<string | null>(null);
  useEffect(() => {
    if (brought || !info.development) return setMade(null);
    let live = true;
    fetchToken(seat.name, app.id).then(
      (token) => live && setMade(token),
      // The connection asks for one too, and says what is wrong.
      () => live && setMade(null),
    );
    return () => {
      live = false;
    };
  }, [info, app.id, seat.name, brought]);
  return brought || made || (app.anonymous ? null : "TOKEN");
}
