/** A gateway dies without a word: its clients are back elsewhere, and the others learn who is gone. */

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { connect } from '../cluster/fleet.mjs';
import { kinds, spread } from './crowd.mjs';
import { ends } from './nodes.mjs';
import { Polling } from './polling.mjs';
import { judge, start } from './restart.mjs';
import { backwards, until } from './until.mjs';

/** What clients and presence have, by the promise. */
const [MOST_BACK, ALL_BACK, KNOWN] = [5_000, 15_000, 6_000];

/** Nobody waits longer for a node that is not there; half of it is for a machine that is busy. */
const REFUSED = 2_000;

it('its clients are back within five seconds, and who is there is known within six', async (test) => {
  const t = backwards(test);
  const cluster = await start(t, { members: 100, publishers: 6 });
  const { nodes, crowd } = cluster;
  const [, victim] = nodes;

  // Somebody on each node who is told who comes and goes; those of the victim do not come back.
  const watchers = [];
  for (const [index, kind] of kinds(18).entries()) {
    const node = nodes[index % nodes.length];
    const watcher = await connect(t, node, kind.generation, { ...kind, namespace: '/presence', events: ['presence'] });
    watcher.shown = (await watcher.done('join', 'hall')).socket;
    watchers.push({ watcher, node });
  }
  const of = (wanted) => watchers.filter(({ node }) => wanted(node)).map(({ watcher }) => watcher);
  const [dead, alive] = [of((node) => node === victim), of((node) => node !== victim)];
  const tag = dead[0].shown.slice(0, 4);
  const struck = crowd.members.filter((member) => member.tag === tag);
  assert.ok(struck.length > crowd.members.length / 6, `the victim has its share of clients, not ${struck.length}`);
  await until('everybody knows of everybody', async () => (await counted(alive[0])).length === watchers.length);

  // One whose requests come to another node, as behind a balancer that is not sticky.
  const orphan = await Polling.open(victim.url);

  const killed = performance.now();
  assert.equal((await ends(victim, 'SIGKILL')).signal, 'SIGKILL');
  const { status, took } = await orphan.post(nodes[0].url, '40');
  assert.ok([400, 503].includes(status) && took < REFUSED, `${status} after ${took} ms`);
  const isKnown = async () => {
    const left = alive.every((watcher) => dead.every(({ shown }) => leaves(watcher, shown) === 1));
    return left && (await Promise.all(alive.map(counted))).every((members) => members.length === alive.length);
  };
  const news = until('those who died are gone', isKnown).then(() => performance.now() - killed);
  const isBack = ({ since, isThere }) => isThere && since > killed;
  await until(() => `${struck.filter((member) => !isBack(member)).length} clients are back`, () => struck.every(isBack));
  const times = struck.map(({ since }) => since - killed).sort((a, b) => a - b);
  const known = await news;

  t.diagnostic(`back: ${spread(times)}; known after ${Math.round(known)} ms; ${crowd.refusals.length} attempts failed`);
  assert.ok(times[Math.floor(times.length * 0.99) - 1] < MOST_BACK, spread(times));
  assert.ok(times.at(-1) < ALL_BACK, spread(times));
  assert.ok(known < KNOWN, `who is there was known after ${known} ms`);
  assert.deepEqual((await counted(alive[0])).toSorted(), alive.map(({ shown }) => shown).toSorted());
  for (const watcher of alive) assert.deepEqual(dead.filter(({ shown }) => leaves(watcher, shown) !== 1), [], watcher.name);
  const last = await orphan.poll(nodes[0].url);
  assert.deepEqual([last.status, JSON.parse(last.body).code], [400, 1]);
  const { complaints } = await judge(t, cluster);
  assert.deepEqual(complaints, []);
  assert.ok(struck.every((member) => member.tag !== tag), 'back on other nodes');
});

/** Who is in the hall, by the cluster's word. */
async function counted(watcher) {
  const { members, total } = await watcher.done('members', 'hall');
  assert.equal(total, members.length);
  return members.map(({ socket }) => socket);
}

/** How often it heard that somebody left. */
const leaves = (watcher, shown) => watcher.all('presence').filter(([{ action, socket }]) => action === 'leave' && socket === shown).length;
