/** Servers of several kinds on one Redis, and clients on them. */

import { after, before } from 'node:test';

import { beside, open } from '../clients/clients.mjs';
import { startGateway } from './gateway.mjs';
import { NodeServer } from './node-server.mjs';
import { Redis } from './redis.mjs';

/** The kind of server that is under test; the others are real Socket.IO servers. */
export const GATEWAY = 'gateway';

/** Starts a server of a kind; it ends with the test. */
export const startServer = (t, redis, kind, options) =>
  kind === GATEWAY ? startGateway(t, redis, options) : NodeServer.start(t, redis, kind, options);

/** One Redis and these servers for all tests of a `describe`; filled once its tests run. */
export function fleet(kinds, options) {
  const cluster = { servers: [] };
  const ends = [];
  before(async () => {
    const t = { after: (end) => ends.push(end) };
    cluster.redis = await Redis.start(t);
    for (const kind of kinds) cluster.servers.push(await startServer(t, cluster.redis, kind, options));
  });
  after(async () => {
    const failures = [];
    // All of them, whatever one says: a process that is left would keep the run from ending.
    for (const end of ends.reverse()) await Promise.resolve().then(end).catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  });
  return cluster;
}

/** A connected client of a generation; what it hears of these events is kept. `more`: further options of the client. */
export async function connect(t, server, generation, { namespace = '/', transport = 'WebSocket only', events = [], name = 'somebody', ...more } = {}) {
  // Clients take brackets in a URL for those around an IPv6 address.
  const isByUrl = namespace !== '/' && !namespace.includes('[');
  const kind = { generation, transport, namespace: isByUrl ? namespace : '', query: { name }, ...more };
  let client = await open(t, server.url, kind);
  if (namespace !== '/' && !isByUrl) {
    client = beside(t, client, namespace);
    await client.connected();
  }
  // Outside of the root these clients take their session's id for their own.
  if (generation.startsWith('1.') && namespace !== '/') Object.defineProperty(client, 'id', { value: `${namespace}#${client.id}` });
  client.name = `${generation} on ${server.name}`;
  client.record(...events, 'end');
  return client;
}

/** One connected client of every generation that a server serves, the last of them by polling. */
export const connectAll = (t, server, options = {}) =>
  Promise.all([
    ...server.clients.map((generation) => connect(t, server, generation, options)),
    connect(t, server, server.clients.at(-1), { ...options, transport: 'polling only' }),
  ]);
