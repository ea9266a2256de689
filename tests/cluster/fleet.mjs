/** Servers of several kinds on one Redis, and clients on them. */

import { after, before } from 'node:test';

import { open } from '../clients/clients.mjs';
import { startGateway } from './gateway.mjs';
import { NodeServer } from './node-server.mjs';
import { Redis } from './redis.mjs';

/** The kind of server that is under test; the others are real Socket.IO servers. */
export const GATEWAY = 'gateway';

/** Whether the binary can be a member of a cluster: until then the real servers are held against each other alone. */
export const GATEWAYS_TAKE_PART = false;

/** Those of some lists of kinds that can run. */
export const runnable = (lists) => lists.filter((list) => GATEWAYS_TAKE_PART || !list.includes(GATEWAY));

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
    for (const end of ends.reverse()) await end();
  });
  return cluster;
}

/** A connected client of a generation; what it hears of these events is kept. */
export async function connect(t, server, generation, { namespace = '', transport = 'WebSocket only', events = [], name = 'somebody' } = {}) {
  const client = await open(t, server.url, { generation, transport, namespace: namespace === '/' ? '' : namespace, query: { name } });
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
