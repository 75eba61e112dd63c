// Owns the application's own server, as far as the checks need it: Pusher's library for Node here, those of other languages as a process that
// takes `{"call": …, "args": […]}` on a line and answers `{"value": …}` or `{"error": …}` on one.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import Pusher from "pusher";

/** What an error of a library says, whatever its language. */
export class Refused extends Error {
  constructor({ kind, status, message }) {
    super(`${kind} ${status ?? ""}: ${message}`);
    Object.assign(this, { kind, status, text: message });
  }
}

/** A function of a call's name and its arguments. */
export function nodeApplication(about, secret = about.pusher.secret) {
  const { hostname, port } = new URL(about.http);
  const { id, key, encryption_key } = about.pusher;
  const library = new Pusher({ appId: id, key, secret, host: hostname, port, encryptionMasterKeyBase64: encryption_key });
  const json = async (answer) => (await answer).json();
  const calls = {
    authorize: (...args) => library.authorizeChannel(...args),
    authenticate: (...args) => library.authenticateUser(...args),
    trigger: (...args) => json(library.trigger(...args)),
    triggerBatch: (batch) => json(library.triggerBatch(batch)),
    channels: (params) => json(library.get({ path: "/channels", params })),
    channel: (name, params) => json(library.get({ path: `/channels/${name}`, params })),
    users: (name) => json(library.get({ path: `/channels/${name}/users` })),
    terminate: (user) => json(library.terminateUserConnections(user)),
    sendToUser: (...args) => json(library.sendToUser(...args)),
  };
  return async (call, ...args) => {
    try {
      return await calls[call](...args);
    } catch (error) {
      throw error.status ? new Refused({ kind: error.name, status: error.status, message: error.body }) : error;
    }
  };
}

/** The same with a library of another language. */
export function applicationIn(command, about, secret = about.pusher.secret) {
  const described = JSON.stringify({ ...about.pusher, secret, http: about.http });
  const child = spawn(command[0], [...command.slice(1), described], { stdio: ["pipe", "pipe", "inherit"] });
  process.on("exit", () => child.kill("SIGKILL"));
  const waiting = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { value, error } = JSON.parse(line);
    const { resolve, reject } = waiting.shift();
    if (error) reject(new Refused(error));
    else resolve(value);
  });
  child.on("exit", (code) => waiting.splice(0).forEach(({ reject }) => reject(new Error(`${command[0]} ended with ${code}`))));
  const application = (call, ...args) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      child.stdin.write(`${JSON.stringify({ call, args })}\n`);
    });
  application.stop = () => child.stdin.end();
  return application;
}
