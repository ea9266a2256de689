/**
 * An application behind the gateway: a webhook endpoint that answers as a test wants, and the HTTP API in a few words.
 *
 * Must never take a webhook that is not signed as documented for one: what is wrong with one fails the test file.
 */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import { within } from './wrap.mjs';

/** What the gateway signs webhooks with. */
export const SECRET = 'webhooks-of-these-tests-0123456789-0123456789';

/** An answer of another kind than 200 with JSON: does what it wants with the response. */
export class Raw {
  constructor(send) {
    this.send = send;
  }

  /** A status with a body and headers. */
  static status(status, body = '', headers = {}) {
    return new Raw((response) => response.writeHead(status, headers).end(body));
  }

  /** No answer at all. */
  static silence = new Raw(() => {});

  /** The connection ends in the middle of a body. */
  static half = new Raw((response) => {
    response.writeHead(200, { 'Content-Length': '1000' });
    response.write('{"ack":[', () => response.destroy());
  });
}

/** A running backend. */
export class Backend {
  #server;
  #certificate;
  #waiting = new Set();
  #wrong = [];

  /** Every webhook so far: the JSON, with `headers` and the time that it came. */
  hooks = [];

  /**
   * By type, and for events by name: what is answered, a value, or a function of the webhook that may wait. Nothing
   * answers 204, and where there is no entry either `{}` is.
   */
  answers = {};

  /** Starts one on a free port, by TLS with a `certificate`. */
  static async start(certificate) {
    const backend = new Backend();
    backend.#certificate = certificate;
    await backend.up(0);
    return backend;
  }

  /** Listens, again on the port that it had. */
  async up(port = this.port) {
    const serve = (request, response) => void this.#serve(request, response);
    const server = this.#certificate ? createTlsServer(this.#certificate, serve) : createServer(serve);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.unref(); // a test that fails at its start must not be kept from ending
    this.#server = server;
    this.port = server.address().port;
  }

  /** Ends all connections and refuses new ones. */
  async down() {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** Ends it. Nothing that came may have been forged, or sent otherwise than documented. */
  async stop() {
    if (this.#server.listening) await this.down();
    assert.deepEqual(this.#wrong, []);
  }

  /** Where webhooks go. */
  get url() {
    const place = this.#certificate ? 'https://localhost' : 'http://127.0.0.1';
    return `${place}:${this.port}/hooks?from=roomcast`;
  }

  /** What goes into a gateway's configuration; `more`: further lines for `[webhook]`. */
  toml(more = '') {
    return `[webhook]\nurl = "${this.url}"\nsecret = "${SECRET}"\n${more}\n`;
  }

  async #serve(request, response) {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // it gave up
    }
    const body = Buffer.concat(chunks);
    const hook = JSON.parse(body);
    const problem = wrong(request, body, hook);
    if (problem) this.#wrong.push(problem);
    Object.defineProperty(hook, 'headers', { value: request.headers });
    this.hooks.push(hook);
    for (const look of [...this.#waiting]) look();
    const entry = this.answers[hook.type === 'event' ? hook.event : hook.type];
    const answer = entry === undefined ? {} : typeof entry === 'function' ? await entry(hook) : entry;
    if (answer instanceof Raw) answer.send(response);
    else if (answer === undefined) response.writeHead(204).end();
    else response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
  }

  /** The webhooks of a type, and for events of a name, so far; of one socket where its id is given. */
  of(type, { event, socket, user } = {}) {
    const fits = (hook) =>
      hook.type === type &&
      (event === undefined || hook.event === event) &&
      (socket === undefined || hook.socket.id === socket) &&
      (user === undefined || hook.socket.user === user);
    return this.hooks.filter(fits);
  }

  /** Resolves to the webhooks that fit once there are so many. */
  async asked(type, { count = 1, ...narrower } = {}) {
    await this.until(`${count} × ${type} ${JSON.stringify(narrower)}`, () => this.of(type, narrower).length >= count);
    return this.of(type, narrower);
  }

  /** Resolves once the condition holds; it is looked at whenever a webhook comes. */
  until(what, condition) {
    let look;
    const held = new Promise((resolve) => {
      look = () => condition() && resolve();
      this.#waiting.add(look);
      look();
    });
    const story = () => `${what}, not ${JSON.stringify(this.hooks.slice(-5))}`;
    return within(held, story).finally(() => this.#waiting.delete(look));
  }
}

/** What is wrong with a webhook by its documentation; nothing where all is well. */
function wrong(request, body, hook) {
  const { 'roomcast-event': event, 'roomcast-id': id, 'roomcast-signature': signature = '', 'content-type': type } = request.headers;
  const [, seconds, given] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
  const expected = createHmac('sha256', SECRET).update(`${seconds}.`).update(body).digest('hex');
  if (given !== expected) return `the signature is ${signature}, not …v1=${expected}`;
  if (Math.abs(Date.now() / 1000 - seconds) > 60) return `signed at ${seconds}`;
  if (event !== hook.type || id !== hook.id) return `Roomcast-Event: ${event}, Roomcast-Id: ${id} with ${hook.type}, ${hook.id}`;
  if (request.method !== 'POST' || request.url !== '/hooks?from=roomcast') return `${request.method} ${request.url}`;
  if (!type?.startsWith('application/json')) return `Content-Type: ${type}`;
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(hook.time)) return `the time ${hook.time}`;
  return undefined;
}

/** Asks a gateway's API; resolves to the status and the answer. */
export async function call(gateway, method, path, body, headers = {}) {
  const answer = await within(
    fetch(gateway.adminUrl + path, {
      method,
      headers: body === undefined ? headers : { 'Content-Type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    }),
    () => `an answer to ${method} ${path}`,
  );
  const text = await answer.text();
  return { status: answer.status, ...JSON.parse(text) };
}

/** As `call`, where anything but 200 is an error. */
export async function api(gateway, method, path, body) {
  const { status, ...answer } = await call(gateway, method, path, body);
  if (status !== 200) throw new Error(`${method} ${path} ${JSON.stringify(body)}: ${status} ${JSON.stringify(answer)}`);
  return answer;
}

/** Emits by the API: `{event, args, rooms, …}`. */
export const emit = (gateway, command) => api(gateway, 'POST', '/v1/emit', command);
