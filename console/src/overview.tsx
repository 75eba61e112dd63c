// What is running: the counters, their rates as a chart, the addresses and the applications.

import type { ComponentChildren } from "preact";
import type { Info, Stats } from "./api";
import { Chart } from "./chart";
import { CopyButton } from "./copy_button";
import { bytes, count, duration, plural, rate } from "./format";
import type { Theme } from "./hooks";
import type { Recorded } from "./rates";

export function Overview(props: { info: Info | null; recorded: Recorded; failure: string | null; theme: Theme }) {
  const { info, recorded, failure, theme } = props;
  const { latest, rates, series } = recorded;
  return (
    <section class="card overview" aria-labelledby="overview-title">
      <h2 id="overview-title" class="unseen">
        What is running
      </h2>
      <dl class="tiles" data-stale={failure !== null}>
        <Tile name="Up for" value={latest ? duration(latest.uptime_ms) : "–"} more={info && latest ? `since ${new Date(info.started_at).toLocaleTimeString("en-GB")}, ${plural(latest.shards.length, "shard")}` : ""} />
        <Tile name="Connections" value={latest ? count(latest.connections) : "–"} more={latest ? dialects(latest) : ""} />
        <Tile name="Subscriptions" value={latest ? count(latest.subscriptions) : "–"} more={latest ? `in ${plural(latest.channels, "channel")}` : ""} />
        <Tile name="Messages in" value={rates ? rate(rates.messagesIn) : "–"} unit="/s" more={latest ? `${count(latest.messages_in)} in all` : ""} tone="in" />
        <Tile name="Messages out" value={rates ? rate(rates.messagesOut) : "–"} unit="/s" more={latest ? `${count(latest.messages_out)} in all` : ""} tone="out" />
        <Tile name="Traffic" value={rates ? bytes(rates.bytesIn + rates.bytesOut) : "–"} unit="/s" more={latest ? `${bytes(latest.bytes_in)} in, ${bytes(latest.bytes_out)} out` : ""} />
        <Tile name="Errors" value={latest ? count(latest.errors) : "–"} more="refused or malformed" tone={latest?.errors ? "bad" : undefined} />
      </dl>
      <div class="split">
        <Chart series={series} theme={theme} trouble={failure ? `The counters stand still: ${failure}.` : latest && !latest.ready ? "The server is not ready: it is starting or shutting down." : null} />
        {info && <Addresses info={info} />}
      </div>
    </section>
  );
}

function Tile(props: { name: string; value: string; unit?: string; more: string; tone?: "in" | "out" | "bad" | undefined }) {
  return (
    <div class="tile" data-tone={props.tone}>
      <dt>{props.name}</dt>
      <dd>
        <span class="number big">{props.value}</span>
        {props.unit && props.value !== "–" && <span class="unit">{props.unit}</span>}
        <span class="number more">{props.more}</span>
      </dd>
    </div>
  );
}

function dialects({ dialects }: Stats): string {
  const open = Object.entries(dialects).filter(([, connections]) => connections > 0);
  return open.map(([name, connections]) => `${count(connections)} ${name}`).join(", ") || "nobody yet";
}

function Addresses({ info }: { info: Info }) {
  const { ws, raw, chat, api } = info.addresses;
  return (
    <dl class="addresses">
      <Address name="Native" address={ws} />
      <Address name="Raw" address={raw} shown={<>{raw}<i>channel</i></>} />
      {chat && <Address name="Chat" address={chat} />}
      <Address name="HTTP" address={api} />
      <div>
        <dt>{info.apps.length === 1 ? "App" : "Apps"}</dt>
        <dd class="plain">
          {info.apps.map((app) => (
            <span key={app.id} title={`key ${app.key}${app.anonymous ? "; guests may connect" : "; wants a token"}`}>
              {app.id} <code>{app.key}</code>
            </span>
          ))}
        </dd>
      </div>
    </dl>
  );
}

function Address({ name, address, shown }: { name: string; address: string; shown?: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <code>{shown ?? address}</code>
        <CopyButton text={address} what={`the ${name} address`} />
      </dd>
    </div>
  );
}
