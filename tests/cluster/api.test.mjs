/** The HTTP API of either of two gateways, for clients on both and on a real Socket.IO server beside them. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';

import { api, call, emit } from '../clients/backend.mjs';
import { eventually } from '../clients/wrap.mjs';
import { connect, fleet, GATEWAY } from './fleet.mjs';

const SECRET = 'tokens-of-these-tests-0123456789-0123456789';

/** Only gateways know users: a namespace of theirs alone. */
const USERS = `
[token]
secrets = ["${SECRET}"]
[[namespace]]
name = "/users"
auth = "token"
join = ["*"]
`;

/** A token by hand. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const message = `${part({ alg: 'HS256' })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 60 })}`;
  return `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
}

const idsOf = (clients) => clients.map(({ id }) => id).sort();
const news = (client) => client.all('news').map(([value]) => value);

describe('the API of two gateways beside a Node server', () => {
  const cluster = fleet([GATEWAY, GATEWAY, 'Node 4'], { namespaces: ['/', '/chat'], more: USERS });
  let rooms = 0;

  /** Two clients on each server, and a room of this test's own. */
  async function setUp(t, { namespace = '/' } = {}) {
    const [a, b, node] = cluster.servers;
    const options = { namespace, events: ['news'] };
    const clients = await Promise.all(
      [[a, '1.7.4'], [a, '4.8.4'], [b, '2.5.0'], [b, '4.8.4'], [node, '2.5.0'], [node, '4.8.4']].map(([server, generation]) =>
        connect(t, server, generation, options),
      ),
    );
    rooms += 1;
    const room = `room ${rooms}`;
    const fill = async (members, name = room) => {
      for (const member of members) await member.done('join', name);
    };
    /** Whatever was emitted by either gateway before has come, wherever it goes; once in a test. */
    const settle = async () => {
      for (const gateway of [a, b]) await emit(gateway, { namespace, all: true, event: 'end' });
      await Promise.all(clients.map((client) => client.heard('end', 2)));
    };
    return { a, b, node, clients, room, fill, settle };
  }

  const users = (t, server, name) => connect(t, server, '4.8.4', { namespace: '/users', events: ['news'], auth: { token: token(name) } });

  for (const namespace of ['/', '/chat']) {
    it(`${namespace}: what either is told to emit reaches everybody meant, on all three`, async (t) => {
      const { a, b, clients, room, fill, settle } = await setUp(t, { namespace });
      const [a1, a2, b1, b2, n1, n2] = clients;
      await fill([a1, b1, n1]);
      await fill([n2, b2], `${room} out`);
      for (const [name, gateway] of [['a', a], ['b', b]]) {
        await emit(gateway, { namespace, event: 'news', args: [`${name} all`] });
        await emit(gateway, { namespace, rooms: [room], event: 'news', args: [`${name} room`] });
        await emit(gateway, { namespace, rooms: [a2.id, b2.id, n2.id], event: 'news', args: [`${name} ids`] });
        await emit(gateway, { namespace, all: true, except: [room, `${room} out`], event: 'news', args: [`${name} except`] });
        await emit(gateway, { namespace, rooms: [room], except: [n1.id], event: 'news', args: [`${name} but one`] });
      }
      await settle();
      const both = (...words) => ['a', 'b'].flatMap((name) => words.map((word) => `${name} ${word}`));
      assert.deepEqual(news(a1), both('all', 'room', 'but one'));
      assert.deepEqual(news(a2), both('all', 'ids', 'except'));
      assert.deepEqual(news(b1), both('all', 'room', 'but one'));
      assert.deepEqual(news(b2), both('all', 'ids'));
      assert.deepEqual(news(n1), both('all', 'room'));
      assert.deepEqual(news(n2), both('all', 'ids'));
    });
  }

  it('`volatile` goes everywhere, `local` only to the gateway\'s own, binary stays binary', async (t) => {
    const { a, clients, settle } = await setUp(t);
    await emit(a, { all: true, volatile: true, event: 'news', args: ['volatile'] });
    await emit(a, { all: true, local: true, event: 'news', args: ['local'] });
    await emit(a, { all: true, event: 'news', args: [{ $binary: Buffer.from([0, 255]).toString('base64') }] });
    await settle();
    const bytes = { bytes: [0, 255] };
    for (const client of clients.slice(0, 2)) assert.deepEqual(news(client).toSorted(), ['volatile', 'local', bytes].toSorted(), client.name);
    for (const client of clients.slice(2)) assert.deepEqual(news(client), ['volatile', bytes], client.name);
  });

  it('members on both hear what both are told in one order', async (t) => {
    const { a, b, clients, room, fill } = await setUp(t);
    const members = clients.slice(0, 4);
    await fill(members);
    const told = [a, b].map(async (gateway) => {
      for (let number = 0; number < 40; number += 1) await emit(gateway, { rooms: [room], event: 'news', args: [`${gateway.port} ${number}`] });
    });
    await Promise.all(told);
    for (const member of members) await member.heard('news', 80);
    for (const member of members) assert.deepEqual(news(member), news(members[0]), member.name);
  });

  it('answers of clients on all three are collected, of others the first argument alone; who does not answer is counted', async (t) => {
    const { a, b, clients, room, fill } = await setUp(t);
    await fill(clients);
    const [silent, ...rest] = clients;
    silent.record('question');
    for (const client of rest) client.socket.on('question', (value, answer) => answer({ id: client.id, value }, 'more'));
    const question = { rooms: [room], event: 'question', args: [7] };
    for (const [gateway, own] of [[a, clients.slice(0, 2)], [b, clients.slice(2, 4)]]) {
      const { ok, expected, acks, missing } = await emit(gateway, { ...question, ack_timeout: '1s' });
      assert.deepEqual([ok, expected, missing], [true, 6, 1]);
      assert.deepEqual(idsOf(acks.map(([first]) => first)), idsOf(rest));
      for (const [{ id, value }, ...others] of acks) {
        assert.equal(value, 7);
        assert.deepEqual(others, own.some((client) => client.id === id) ? ['more'] : [], id);
      }
    }
    const some = await emit(a, { ...question, except: [silent.id], ack_timeout: '20s' });
    assert.deepEqual([some.expected, some.missing, some.acks.length], [5, 0, 5]);
    const own = await emit(b, { ...question, except: [silent.id], local: true, ack_timeout: '20s' });
    assert.deepEqual([own.expected, own.missing], [2, 0]);
  });

  it('sockets join, leave and go by room, wherever they are', async (t) => {
    const { a, b, node, clients, room, fill, settle } = await setUp(t);
    const [a1, a2, b1, b2, n1, n2] = clients;
    await fill([a1, b1, n1]);
    await api(b, 'POST', '/v1/join', { rooms: [room], join: [`${room} made`] });
    await emit(a, { rooms: [`${room} made`], event: 'news', args: [1] });
    await api(a, 'POST', '/v1/leave', { rooms: [`${room} made`], except: [b1.id], leave: [`${room} made`] });
    await emit(b, { rooms: [`${room} made`], event: 'news', args: [2] });
    await settle();
    assert.deepEqual([a1, a2, b1, b2, n1, n2].map(news), [[1], [], [1, 2], [], [1], []]);
    await api(a, 'POST', '/v1/disconnect', { rooms: [room], except: [a1.id] });
    for (const client of [b1, n1]) assert.match(await client.disconnected(), /io server disconnect/, client.name);
    await api(b, 'POST', '/v1/disconnect', { rooms: [a1.id], close: true });
    assert.match(await a1.disconnected(), /io server disconnect|transport close/);
    for (const client of [a2, b2, n2]) assert.deepEqual([await client.ask('echo', 1), client.disconnects], [1, []], client.name);
    assert.ok(node);
  });

  it('a user is reached on both, and is put into rooms, out of them and away', async (t) => {
    const [a, b] = cluster.servers;
    const devices = await Promise.all([users(t, a, 'alice'), users(t, b, 'alice')]);
    const bob = await users(t, b, 'bob');
    const whom = { namespace: '/users', user: 'alice' };
    const tell = (gateway, value, more = {}) => emit(gateway, { ...whom, ...more, event: 'news', args: [value] });
    await tell(a, 1);
    await tell(b, 2);
    await api(b, 'POST', '/v1/join', { ...whom, join: ['r'] });
    await tell(a, 3, { user: undefined, rooms: ['r'] });
    await api(a, 'POST', '/v1/leave', { ...whom, except: [devices[1].id], leave: ['r'] });
    await tell(b, 4, { user: undefined, rooms: ['r'] });
    const { sockets } = await api(a, 'GET', '/v1/sockets?namespace=/users&user=alice');
    assert.deepEqual(idsOf(sockets), idsOf(devices));
    await api(b, 'POST', '/v1/disconnect', whom);
    for (const device of devices) assert.equal(await device.disconnected(), 'io server disconnect');
    assert.deepEqual(devices.map(news), [[1, 2, 3], [1, 2, 3, 4]]);
    await tell(a, 5, { user: 'bob' });
    await bob.heard('news');
    assert.deepEqual(news(bob), [5]);
  });

  it('sockets, rooms and nodes are listed as one, by either', async (t) => {
    const { a, b, clients, room, fill } = await setUp(t);
    await fill(clients);
    const query = encodeURIComponent(room);
    for (const gateway of [a, b]) {
      const { sockets, partial } = await api(gateway, 'GET', `/v1/sockets?namespace=/&room=${query}`);
      assert.deepEqual(idsOf(sockets), idsOf(clients));
      assert.deepEqual(partial, []);
      assert.equal(new Set(sockets.map(({ node }) => node)).size, 3);
      for (const { id } of clients.slice(0, 4)) assert.equal((await api(gateway, 'GET', `/v1/sockets/${id}`)).sockets[0].id, id);
      assert.deepEqual((await api(gateway, 'GET', `/v1/rooms?namespace=/&prefix=${query}`)).rooms, [{ room, sockets: 4 }]);
      assert.equal((await api(gateway, 'GET', `/v1/rooms/${query}`)).rooms[0].sockets, 6);
      const { nodes, node_servers: others } = await api(gateway, 'GET', '/v1/nodes');
      assert.deepEqual([nodes.length, others], [2, 1]);
      assert.equal(new Set(nodes.map(({ id }) => id)).size, 2);
    }
    // Page by page nobody is left out, and nobody comes twice.
    const pages = [];
    let cursor = '';
    do {
      const page = await api(a, 'GET', `/v1/sockets?namespace=/&room=${query}&limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      pages.push(...page.sockets);
      cursor = page.cursor;
      assert.ok(pages.length <= 12, 'pages end');
    } while (cursor);
    assert.deepEqual(idsOf(pages), idsOf(clients));
  });

  it('one id is done once, whoever gets it, at the same time or later', async (t) => {
    const { a, b, clients, settle } = await setUp(t);
    for (let turn = 0; turn < 10; turn += 1) {
      const command = { all: true, event: 'news', args: [turn], id: `${rooms} ${turn}` };
      const answers = await Promise.all([a, b, a, b].map((gateway) => emit(gateway, command)));
      assert.deepEqual(answers.map(({ duplicate = false }) => duplicate).sort(), [false, true, true, true]);
      assert.deepEqual(await emit(b, command), { ok: true, duplicate: true });
    }
    await settle();
    for (const client of clients) assert.deepEqual(news(client).sort(), Array.from({ length: 10 }, (_, turn) => turn), client.name);
  });
});

describe('the API where somebody is missing', () => {
  const cluster = fleet([GATEWAY, GATEWAY, 'Node 4'], { cluster: 'request_timeout = "1s"' });

  it('who does not answer is named, and what the others know is told', async (t) => {
    const [a, b, node] = cluster.servers;
    const [here, there] = await Promise.all([connect(t, a, '4.8.4'), connect(t, b, '4.8.4')]);
    for (const client of [here, there]) await client.done('join', 'r');
    const { nodes } = await api(a, 'GET', '/v1/nodes');
    const of = async (client) => (await api(a, 'GET', `/v1/sockets/${client.id}`)).sockets[0].node;
    const [idOfA, idOfB] = [await of(here), await of(there)];
    assert.deepEqual(nodes.map(({ id }) => id).sort(), [idOfA, idOfB].sort());
    await node.hang();
    const found = await api(a, 'GET', '/v1/sockets?namespace=/&room=r');
    assert.deepEqual([idsOf(found.sockets), found.partial], [idsOf([here, there]), ['node.js']]);
    node.resume();
    await b.freeze();
    const left = await api(a, 'GET', '/v1/sockets?namespace=/&room=r');
    b.signal('SIGCONT');
    assert.deepEqual([idsOf(left.sockets), left.partial], [[here.id], [idOfB]]);
    await eventually('all answer again', async () => (await api(a, 'GET', '/v1/sockets?namespace=/&room=r')).partial.length === 0);
  });

  it('a node is drained by another\'s API, and taken back by its own', async (t) => {
    const [a, b] = cluster.servers;
    const client = await connect(t, b, '4.8.4', { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    const [{ node }] = (await api(a, 'GET', `/v1/sockets/${client.id}`)).sockets;
    await api(a, 'POST', '/v1/drain', { node });
    assert.equal(await client.disconnected(), 'transport close');
    await eventually('it says so', async () => (await fetch(`${b.adminUrl}/readyz`)).status === 503);
    const draining = async () => (await api(a, 'GET', '/v1/nodes')).nodes.filter((each) => each.draining).map(({ id }) => id);
    assert.deepEqual(await draining(), [node]);
    assert.equal((await call(b, 'DELETE', '/v1/drain')).status, 200);
    await eventually('it is ready', async () => (await fetch(`${b.adminUrl}/readyz`)).ok);
    await client.until('back', () => client.socket.connected);
    assert.deepEqual([await draining(), await client.ask('echo', 1)], [[], 1]);
  });
});

describe('the API without Redis', () => {
  // Another prefix than the default: the emitter that tests have there would not survive this.
  const cluster = fleet([GATEWAY, GATEWAY], { key: 'mine' });

  it('while Redis is away each reaches its own, and says so', async (t) => {
    const [a, b] = cluster.servers;
    const [here, there] = await Promise.all([a, b].map((server) => connect(t, server, '4.8.4', { events: ['news'] })));
    await cluster.redis.kill();
    await eventually('it is noticed', async () => (await emit(a, { all: true, event: 'news', args: ['alone'] })).local);
    await here.heard('news');
    const command = { all: true, event: 'news', args: ['once'], id: 'while away' };
    assert.deepEqual(await emit(a, command), { ok: true, local: true });
    assert.equal((await emit(a, command)).duplicate, true);
    await cluster.redis.launch();
    const ready = (gateway) => async () => !(await (await fetch(`${gateway.adminUrl}/readyz`)).json()).degraded;
    for (const gateway of [a, b]) await eventually('it is back', ready(gateway));
    await emit(a, { all: true, event: 'news', args: ['back'] });
    await there.until('the other hears again', () => news(there).includes('back'));
    await here.until('it hears again', () => news(here).includes('back'));
    assert.equal(news(here).filter((value) => value === 'once').length, 1);
    assert.deepEqual(news(there), ['back']);
  });
});
