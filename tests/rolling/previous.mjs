/**
 * A build of an earlier commit and this one in one cluster, by hand, as it wants the repository's history:
 *
 *   cargo build --release && node tests/rolling/previous.mjs [COMMIT]
 *
 * COMMIT is the one before HEAD where none is given. It is built, unoptimised, in a work tree of its own under
 * target/previous, and stays there. `ROOMCAST_BIN` names another binary than the release build for this commit.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { connect, startServer } from '../cluster/fleet.mjs';
import { Redis } from '../cluster/redis.mjs';
import { startHaproxy } from './balancers.mjs';
import { Crowd, RECONNECTION_DELAY } from './crowd.mjs';
import { Ledger } from './ledger.mjs';
import { ends, startNode, startNodes } from './nodes.mjs';
import { Polling } from './polling.mjs';
import { judge } from './restart.mjs';
import { byHand, until } from './until.mjs';

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** Builds a commit: the path of its binary. */
function build(commit) {
  const git = (...words) => execFileSync('git', words, { cwd: ROOT, encoding: 'utf8' }).trim();
  const full = git('rev-parse', '--verify', `${commit}^{commit}`);
  const tree = path.join(ROOT, 'target/previous', full);
  if (!existsSync(tree)) git('worktree', 'add', '--detach', tree, full);
  const target = path.join(ROOT, 'target/previous/target');
  execFileSync('cargo', ['build', '--locked', '--bin', 'roomcast', '--target-dir', target], { cwd: tree, stdio: 'inherit' });
  return path.join(target, 'debug/roomcast');
}

const SPEAKERS = ['1.7.4', '2.5.0', '4.8.4'];

/** Clients of every generation on each node. */
async function guests(t, nodes, options) {
  const found = [];
  for (const node of nodes) for (const generation of SPEAKERS) found.push(await connect(t, node, generation, options));
  return found;
}

/** Everything that is said on one is heard on the other, once and in order. */
async function talk(t, nodes) {
  const clients = await guests(t, nodes, { events: ['news'] });
  for (const client of clients) await client.done('join', 'room');
  for (const [index, client] of clients.entries()) {
    for (const turn of [0, 1, 2]) await client.done('publish', 'room', 'news', index, turn, Buffer.from([index, turn]));
  }
  for (const [index, client] of clients.entries()) {
    const heard = await client.heard('news', (clients.length - 1) * 3);
    const wanted = clients.flatMap((_, other) => (other === index ? [] : [0, 1, 2].map((turn) => [other, turn, { bytes: [other, turn] }])));
    assert.deepEqual(heard, wanted, client.name);
  }
  return clients;
}

/** Who is there, comes and goes is known on both. */
async function presence(t, nodes) {
  const clients = await guests(t, nodes, { namespace: '/presence', events: ['presence'] });
  const shown = [];
  for (const client of clients) shown.push((await client.done('join', 'hall')).socket);
  for (const client of clients) {
    const { members, total, partial } = await client.done('members', 'hall');
    assert.deepEqual([members.map(({ socket }) => socket).toSorted(), total, partial], [shown.toSorted(), clients.length, undefined]);
  }
  const heard = (client, action) => client.all('presence').filter(([said]) => said.action === action).map(([{ socket }]) => socket);
  for (const [index, client] of clients.entries()) {
    const later = shown.slice(index + 1);
    await client.until('heard who came', () => later.every((one) => heard(client, 'join').includes(one)));
    // Word of the one before may be on its way when it joins.
    const more = heard(client, 'join').filter((one) => !later.includes(one));
    assert.ok(new Set(heard(client, 'join')).size === later.length + more.length && !more.includes(shown[index]));
  }
  await clients[0].done('leave', 'hall');
  for (const client of clients.slice(1)) {
    await client.until('heard who left', () => heard(client, 'leave').length === 1);
    assert.deepEqual(heard(client, 'leave'), [shown[0]]);
  }
}

/** A Node server sees and moves the clients of both. */
async function beside(server, clients) {
  const fetched = await server.ask('fetchSockets', { rooms: ['room'] });
  assert.equal(fetched.length, clients.length);
  for (const client of clients) client.record('from node');
  await server.emit({ rooms: ['room'] }, 'from node', 1);
  for (const client of clients) assert.deepEqual(await client.heard('from node'), [[1]]);
  await server.ask('socketsJoin', { rooms: ['room'], names: ['moved'] });
  const inside = async () => (await server.ask('fetchSockets', { rooms: ['moved'] })).length === clients.length;
  await until('all are moved', inside);
}

/** A session of one that is asked for at the other: an answer at once, whatever it is. */
async function astray([old, young]) {
  for (const [owner, other] of [[old, young], [young, old]]) {
    const session = await Polling.open(owner.url);
    const { status, body, took } = await session.post(other.url, '40');
    console.log(`a session of ${owner.name} at ${other.name}: ${status} ${body} after ${Math.round(took)} ms`);
    assert.ok([200, 400, 503].includes(status) && took < 2_000);
  }
}

/** From three old ones to three of this build, under load. */
async function roll(t, redis, previous) {
  const nodes = await startNodes(t, redis, 3, { binary: previous });
  const haproxy = await startHaproxy(t, nodes);
  const ledger = new Ledger();
  const crowd = new Crowd(t, ledger);
  // What an old build does with requests that go astray is its own affair.
  const transports = ['WebSocket only'];
  await crowd.gather([haproxy.url], 90, { transports });
  await crowd.publish([haproxy.url], 6, { redis, transports });
  for (const node of nodes) {
    const { name, host } = node;
    assert.equal((await ends(node)).code, 0);
    const young = await startNode(t, redis, { name, host });
    await until(`HAProxy sends clients to ${name}`, () => haproxy.isUp(young));
  }
  const { complaints, failures } = await judge(t, { balancers: [haproxy], crowd, ledger });
  assert.deepEqual([failures, complaints], [[], []]);
  assert.ok(crowd.gaps.length > crowd.members.length / 2 && crowd.gaps.at(-1) < RECONNECTION_DELAY + 1_000);
}

const previous = build(process.argv[2] ?? 'HEAD~1');
await byHand(async (t) => {
  const redis = await Redis.start(t);
  const server = await startServer(t, redis, 'Node 4');
  const nodes = [
    await startNode(t, redis, { name: 'the old one', binary: previous }),
    await startNode(t, redis, { name: 'the new one' }),
  ];
  const clients = await talk(t, nodes);
  console.log('broadcasts and rooms: as one');
  await presence(t, nodes);
  console.log('presence and members: as one');
  await beside(server, clients);
  console.log('beside a Node server: as one');
  await astray(nodes);
});
await byHand(async (t) => {
  await roll(t, await Redis.start(t), previous);
  console.log('5 passed, 0 failed');
});
