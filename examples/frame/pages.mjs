// The server of an example's page: its own folder at `/`, `examples/shared` at `/shared/`, the TypeScript client at `/client.js`, and the addresses of
// everything else at `/where.json`. It forwards nothing: pages talk to the server themselves.

import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".map": "application/json",
};

/** Answers the server, which listens on loopback. `where` is asked at each request. */
export async function servePages({ page, shared, client, where, port }) {
  const server = createServer((request, response) => {
    const path = pathOf(request.url);
    if (path === "/where.json") return send(response, 200, "application/json", JSON.stringify(where()));
    if (path === "/client.js") return send(response, 200, TYPES[".js"], `export * from "/client/index.js";\n`);
    if (path.startsWith("/shared/")) return file(response, shared + path.slice("/shared".length));
    if (path.startsWith("/client/")) return file(response, client + path.slice("/client".length));
    file(response, page + (path.endsWith("/") ? `${path}index.html` : path));
  });
  await new Promise((listening, failed) => server.once("error", failed).listen(port, "127.0.0.1", listening));
  return server;
}

/** Never above the folder: dots are resolved before it is put before them. */
function pathOf(url) {
  try {
    return normalize(decodeURIComponent(new URL(url, "http://page").pathname)).replaceAll("\\", "/");
  } catch {
    return "/no such page";
  }
}

function file(response, path) {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile()) return send(response, 404, "text/plain; charset=utf-8", "there is no such file\n");
  response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "cache-control": "no-store", "content-security-policy": POLICY });
  createReadStream(path).on("error", () => response.destroy()).pipe(response);
}

function send(response, status, type, text) {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(text);
}

// A page loads nothing from elsewhere; it connects to the server and to the backend, which are on ports of their own.
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*";
