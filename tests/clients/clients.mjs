/**
 * The stock clients that run in Node, one for each generation, and how each is opened.
 *
 * Must never patch a client: what is tested is what people have installed.
 */

import { createRequire } from 'node:module';

import { Client } from './wrap.mjs';

const require = createRequire(import.meta.url);

/** Every generation that runs in today's Node. */
export const GENERATIONS = ['1.7.4', '2.5.0', '3.1.3', '4.8.4'];

/** The ways a session can be carried. */
export const TRANSPORTS = {
  'polling only': ['polling'],
  'WebSocket only': ['websocket'],
  'polling, then WebSocket': ['polling', 'websocket'],
};

/** Every generation over every transport: `{generation, transport, name}`. */
export const MATRIX = GENERATIONS.flatMap((generation) =>
  Object.keys(TRANSPORTS).map((transport) => ({ generation, transport, name: `${generation}, ${transport}` })),
);

/** Whether a generation speaks Engine.IO v3. */
export const isOld = (generation) => /^[12]\./.test(generation);

/** The `io` function of a generation. */
export const library = (generation) => require(`client-${generation}`);

/** The options every client of these tests gets: one session each, that does not come back by itself. */
export const options = (transport, more = {}) => ({
  forceNew: true,
  reconnection: false,
  transports: TRANSPORTS[transport],
  ...more,
});

/** A client that is on its way: not waited for, closed when the test ends. */
export function start(t, url, { generation, transport, namespace = '', ...more }) {
  const client = new Client(library(generation)(url + namespace, options(transport, more)));
  client.name = `${generation}, ${transport}`;
  t.after(() => client.close());
  return client;
}

/** A connected client whose session has come to its last transport; closed when the test ends. */
export async function open(t, url, kind) {
  const client = start(t, url, kind);
  await client.connected();
  if (kind.transport === 'polling, then WebSocket') await client.upgraded();
  return client;
}

/** Another namespace on the session of an open client, as stock clients share it. */
export function beside(t, client, namespace) {
  const other = new Client(client.socket.io.socket(namespace));
  t.after(() => other.socket.disconnect());
  return other;
}

/** One connected client of every kind. */
export const openAll = (t, url, more = {}) => Promise.all(MATRIX.map((kind) => open(t, url, { ...kind, ...more })));
