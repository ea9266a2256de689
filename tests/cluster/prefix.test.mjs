/** Clusters with different channel prefixes share a Redis and hear nothing of each other; real servers have theirs back. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { connect, GATEWAY, runnable, startServer } from './fleet.mjs';
import { Redis } from './redis.mjs';

const PAIRS = runnable([
  ['Node 4', 'Node 4'],
  ['Node 2', 'Node 2'],
  ['Node 4', GATEWAY],
  ['Node 2', GATEWAY],
]);

describe('channel prefixes', () => {
  for (const kinds of PAIRS) {
    it(`${kinds.join(' and ')}: two clusters on one Redis`, async (t) => {
      const redis = await Redis.start(t);
      const clusters = [];
      for (const key of ['app', 'app-2']) {
        const servers = [];
        for (const kind of kinds) servers.push(await startServer(t, redis, kind, { key }));
        const clients = await Promise.all(servers.map((server) => connect(t, server, server.clients.at(-1), { events: ['news'] })));
        for (const client of clients) await client.done('join', 'room');
        clusters.push({ key, speaker: servers[0], clients });
      }
      for (const { key, speaker, clients } of clusters) {
        await speaker.emit({}, 'news', key, 'all');
        await speaker.emit({ rooms: ['room'] }, 'news', key, 'room');
        await clients[1].done('publish', 'room', 'news', key, 'there');
      }
      for (const { key, speaker, clients: [near, far] } of clusters) {
        await near.heard('news', 3);
        await speaker.emit({}, 'end');
        await far.heard('end');
        assert.deepEqual(near.all('news').map(([from]) => from), [key, key, key]);
        assert.deepEqual(far.all('news'), [[key, 'all'], [key, 'room']]);
      }
    });
  }
});
