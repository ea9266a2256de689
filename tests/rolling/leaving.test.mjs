/** A gateway that is told twice to stop, and one whose client takes nothing any more. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { open } from '../clients/clients.mjs';
import { within } from '../clients/wrap.mjs';
import { Redis } from '../cluster/redis.mjs';
import { ends, metric, startNode } from './nodes.mjs';
import { until } from './until.mjs';

/** Nobody is closed before a second signal comes. */
const PATIENT = { delay: '60s', spread: '60s', timeout: '120s' };
/** What an exit may take beyond its reason on a machine that is busy. */
const SLACK = 2_000;
const CUT = 75;

const CLIENT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'silent-client.mjs');

/** A client in a process of its own, in the room "flood"; stopped, it takes nothing. */
async function silentClient(t, url, transport) {
  const child = spawn(process.execPath, [CLIENT, url, transport], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const [line] = await within(once(createInterface({ input: child.stdout }), 'line'), () => 'the client joins');
  assert.equal(line, 'joined');
  child.kill('SIGSTOP');
}

describe('a second signal', () => {
  for (const [first, second] of [['SIGTERM', 'SIGTERM'], ['SIGTERM', 'SIGINT'], ['SIGINT', 'SIGTERM']]) {
    it(`${second} after ${first} ends it at once`, async (t) => {
      const redis = await Redis.start(t);
      const node = await startNode(t, redis, { name: 'gateway', drain: PATIENT });
      const clients = [];
      for (const transport of ['WebSocket only', 'polling only']) clients.push(await open(t, node.url, { generation: '4.8.4', transport }));
      node.signal(first);
      await until('it drains', async () => (await metric(node, 'roomcast_draining')) === 1);
      for (const client of clients) assert.ok(client.socket.connected);
      const end = await ends(node, second);
      assert.equal(end.code, CUT);
      assert.ok(end.took < SLACK, `it took ${end.took} ms`);
      // Still in a way in which clients come back.
      for (const client of clients) assert.match(await client.disconnected(), /^transport (close|error)$/);
    });
  }

  it('cuts nobody where nobody is', async (t) => {
    const node = await startNode(t, await Redis.start(t), { name: 'gateway', drain: PATIENT });
    const client = await open(t, node.url, { generation: '4.8.4', transport: 'WebSocket only' });
    node.signal('SIGTERM');
    await until('it drains', async () => (await metric(node, 'roomcast_draining')) === 1);
    client.close();
    await until('it is alone', async () => (await metric(node, 'roomcast_connections')) === 0);
    assert.equal((await ends(node)).code, 0);
  });
});

describe('a client that takes nothing any more', () => {
  const DRAIN = { delay: '0s', spread: '500ms', timeout: '4s' };

  // A client that polls is given three seconds to come for its last words, and then up; a WebSocket the whole time.
  for (const [transport, isFull, exitCode] of [['websocket', false, 0], ['websocket', true, CUT], ['polling', true, 0]]) {
    it(`holds up nobody's exit beyond the timeout: ${transport}, ${isFull ? 'with' : 'without'} words that wait`, async (t) => {
      const node = await startNode(t, await Redis.start(t), { name: 'gateway', drain: DRAIN });
      const publisher = await open(t, node.url, { generation: '4.8.4', transport: 'WebSocket only' });
      await silentClient(t, node.url, transport);
      // More than the kernel keeps for a connection, less than the outbox holds.
      const filling = async () => {
        await publisher.done('publish', 'flood', 'flood', 'x'.repeat(500_000));
        return (await metric(node, 'roomcast_outbox_bytes')) > 1_000_000;
      };
      if (isFull) await until('words wait for it', filling);
      const { code, took } = await ends(node);
      assert.ok(took < 4_000 + SLACK, `it took ${took} ms`);
      t.diagnostic(`exit code ${code} after ${Math.round(took)} ms`);
      assert.equal(code, exitCode);
    });
  }
});
