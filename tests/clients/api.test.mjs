/**
 * The HTTP API as stock clients of every generation feel it: what they hear, are asked, and where they are put.
 */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { api, call, emit } from './backend.mjs';
import { isOld, open } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { VALUES } from './samples.mjs';
import { eventually, plain } from './wrap.mjs';

const KINDS = [
  { generation: '1.7.4', transport: 'polling only' },
  { generation: '2.5.0', transport: 'WebSocket only' },
  { generation: '4.8.4', transport: 'polling only' },
  { generation: '4.8.4', transport: 'WebSocket only' },
].map((kind) => ({ ...kind, name: `${kind.generation}, ${kind.transport}` }));

const SECRET = 'tokens-of-these-tests-0123456789-0123456789';

/** A token by hand. */
function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const message = `${part({ alg: 'HS256' })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 60 })}`;
  return `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
}

describe('the API and clients', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start({
      rest: `
[token]
secrets = ["${SECRET}"]
[[namespace]]
name = "/"
[[namespace]]
name = "/users"
auth = "token"
join = ["*"]
`,
    });
  });
  after(() => gateway.stop());

  const EVENTS = ['news', 'end'];
  const connect = async (t, kind, more = {}) => (await open(t, gateway.url, { ...kind, ...more })).record(...EVENTS);
  /** One client of each kind, and a name for a room of the test's own. */
  let rooms = 0;
  const everybody = async (t, more) => [await Promise.all(KINDS.map((kind) => connect(t, kind, more))), `room ${(rooms += 1)} é`];
  const user = (t, kind, name) =>
    connect(t, kind, { namespace: '/users', ...(isOld(kind.generation) ? { query: { token: token(name) } } : { auth: { token: token(name) } }) });
  /** What each has heard once all that was emitted before is there. */
  async function news(clients, namespace = '/') {
    await emit(gateway, { namespace, all: true, event: 'end' });
    const ended = clients.map((client) => client.all('end').length);
    await Promise.all(clients.map((client, index) => client.heard('end', Math.max(1, ended[index]))));
    return clients.map((client) => client.all('news').map(([value]) => value));
  }
  /** The id that the API knows a client by: with its namespace for clients 1.x and 2.x outside of the root. */
  const idOf = (client) => (client.socket.nsp !== '/' && !String(client.id).startsWith('/') && client.name.startsWith('1') ? `${client.socket.nsp}#${client.id}` : client.id);

  it('emits to everybody, to rooms, to ids, without some', async (t) => {
    const [clients, room] = await everybody(t);
    const [first, second, third, fourth] = clients;
    for (const client of [first, second]) await client.done('join', [room, `${room}2`]);
    await third.done('join', `${room}2`);
    assert.deepEqual(await emit(gateway, { all: true, event: 'news', args: ['all'] }), { ok: true });
    await emit(gateway, { rooms: [room], event: 'news', args: ['room'] });
    await emit(gateway, { rooms: [room, `${room}2`], event: 'news', args: ['union'] });
    await emit(gateway, { rooms: [room], except: [first.id], event: 'news', args: ['without the first'] });
    await emit(gateway, { rooms: [third.id, fourth.id], event: 'news', args: ['ids'] });
    await emit(gateway, { except: [`${room}2`], event: 'news', args: ['those outside'] });
    await emit(gateway, { rooms: ['nobody'], event: 'news', args: ['nobody'] });
    await emit(gateway, { all: true, volatile: true, event: 'news', args: ['volatile'] });
    await emit(gateway, { all: true, local: true, event: 'news', args: ['local'] });
    const [one, two, three, four] = await news(clients);
    const heard = (list) => list.filter((value) => !['volatile', 'local'].includes(value));
    assert.deepEqual(heard(one), ['all', 'room', 'union']);
    assert.deepEqual(heard(two), ['all', 'room', 'union', 'without the first']);
    assert.deepEqual(heard(three), ['all', 'union', 'ids']);
    assert.deepEqual(heard(four), ['all', 'ids', 'those outside']);
    // Volatile ones may be lost where a client is not ready; a WebSocket that is open is.
    for (const list of [two, four]) assert.deepEqual(list.slice(-2), ['volatile', 'local']);
  });

  it('what it is given arrives unchanged, binary too', async (t) => {
    const [clients, room] = await everybody(t);
    for (const client of clients) await client.done('join', room);
    const values = Object.entries(VALUES).filter(([name]) => name !== 'half of a surrogate pair');
    for (const [, value] of values) await emit(gateway, { rooms: [room], event: 'news', args: [value] });
    const bytes = Array.from({ length: 256 }, (_, index) => index);
    const $binary = Buffer.from(bytes).toString('base64');
    await emit(gateway, { rooms: [room], event: 'news', args: [{ a: [{ $binary }] }, 'between', { $binary: '' }] });
    for (const client of clients) {
      const heard = await client.heard('news', values.length + 1);
      values.forEach(([name, value], index) => assert.deepEqual(heard[index], [plain(value)], `${client.name}: ${name}`));
      assert.deepEqual(heard.at(-1), [{ a: [{ bytes }] }, 'between', { bytes: [] }], client.name);
    }
  });

  it('emits to a user on all devices', async (t) => {
    const devices = await Promise.all(KINDS.map((kind) => user(t, kind, 'alice')));
    const bob = await user(t, KINDS[3], 'bob');
    await bob.done('join', 'friends');
    const to = { namespace: '/users', event: 'news' };
    await emit(gateway, { ...to, user: 'alice', args: [1] });
    await emit(gateway, { ...to, user: 'alice', rooms: ['friends'], args: [2] });
    await emit(gateway, { ...to, user: 'alice', except: [idOf(devices[0])], args: [3] });
    await emit(gateway, { ...to, user: 'nobody', args: [4] });
    const [first, ...rest] = await news([...devices, bob], '/users');
    assert.deepEqual(first, [1, 2]);
    assert.deepEqual(rest, [[1, 2, 3], [1, 2, 3], [1, 2, 3], [2]]);
  });

  it('asks clients, and says who did not answer', async (t) => {
    const [clients, room] = await everybody(t);
    const [silent, ...rest] = clients;
    for (const client of clients) await client.done('join', room);
    for (const client of rest) client.socket.on('question', (value, answer) => answer(client.name, value, Buffer.from([7])));
    silent.record('question');
    const ask = { event: 'question', args: [{ n: 1 }] };
    const all = await emit(gateway, { ...ask, rooms: [room], ack_timeout: '700ms' });
    assert.deepEqual([all.ok, all.expected, all.missing], [true, 4, 1]);
    const binary = { $binary: Buffer.from([7]).toString('base64') };
    const answers = (list) => list.map(({ name }) => [name, { n: 1 }, binary]);
    assert.deepEqual(all.acks.toSorted(), answers(rest).toSorted());
    const some = await emit(gateway, { ...ask, rooms: [rest[0].id, rest[2].id], ack_timeout: '20s' });
    assert.deepEqual([some.expected, some.missing], [2, 0]);
    assert.deepEqual(some.acks.toSorted(), answers([rest[0], rest[2]]).toSorted());
    const nobody = await emit(gateway, { ...ask, rooms: ['nobody'], ack_timeout: '20s' });
    assert.deepEqual(nobody, { ok: true, expected: 0, acks: [], missing: 0 });
  });

  it('who leaves while it is asked is missing', async (t) => {
    const [clients, room] = await everybody(t);
    for (const client of clients) {
      client.record('question');
      await client.done('join', room);
    }
    const asked = emit(gateway, { rooms: [room], event: 'question', ack_timeout: '1s' });
    for (const client of clients) {
      await client.heard('question');
      client.close();
    }
    const { expected, acks, missing } = await asked;
    assert.deepEqual([expected, acks, missing], [4, [], 4]);
  });

  it('puts clients into rooms and out of them', async (t) => {
    const [clients, room] = await everybody(t);
    const [first, second, ...rest] = clients;
    const users = [await user(t, KINDS[1], 'carol'), await user(t, KINDS[3], 'carol')];
    await api(gateway, 'POST', '/v1/join', { rooms: [first.id, second.id], join: [room, 'kept'] });
    await api(gateway, 'POST', '/v1/join', { namespace: '/users', user: 'carol', join: [room] });
    await emit(gateway, { rooms: [room], event: 'news', args: [1] });
    await emit(gateway, { namespace: '/users', rooms: [room], event: 'news', args: [1] });
    await api(gateway, 'POST', '/v1/leave', { rooms: [room], except: [second.id], leave: [room] });
    await emit(gateway, { rooms: [room], event: 'news', args: [2] });
    assert.deepEqual(await news(clients), [[1], [1, 2], ...rest.map(() => [])]);
    assert.deepEqual(await news(users, '/users'), [[1], [1]]);
    assert.deepEqual((await first.done('join', 'x')).rooms.sort(), ['kept', 'x']);
    for (const missing of [{ join: ['x'] }, { rooms: [], join: ['x'] }, { rooms: null, join: ['x'] }, { user: '', join: ['x'] }]) {
      assert.equal((await call(gateway, 'POST', '/v1/join', missing)).status, 400, JSON.stringify(missing));
    }
  });

  it('sends clients away, from the namespace or altogether', async (t) => {
    const [clients, room] = await everybody(t);
    const [first, second, third, fourth] = clients;
    for (const client of clients) await client.done('join', room);
    await api(gateway, 'POST', '/v1/disconnect', { rooms: [first.id, third.id] });
    for (const client of [first, third]) assert.equal(await client.disconnected(), 'io server disconnect', client.name);
    await api(gateway, 'POST', '/v1/disconnect', { rooms: [room], except: [fourth.id], close: true });
    assert.match(await second.disconnected(), /io server disconnect|transport close/);
    assert.deepEqual((await fourth.done('join', 'x')).rooms, [room, 'x']);
    const dora = await user(t, KINDS[0], 'dora');
    await api(gateway, 'POST', '/v1/disconnect', { namespace: '/users', user: 'dora' });
    assert.equal(await dora.disconnected(), 'io server disconnect');
    assert.equal((await call(gateway, 'POST', '/v1/disconnect', {})).status, 400, 'nobody is not everybody');
  });

  it('lists sockets, by room and by user, and rooms', async (t) => {
    const [clients, room] = await everybody(t);
    for (const client of clients) await client.done('join', room);
    const { sockets } = await api(gateway, 'GET', `/v1/sockets?namespace=/&room=${encodeURIComponent(room)}`);
    assert.deepEqual(sockets.map(({ id }) => id).sort(), clients.map(({ id }) => id).sort());
    for (const [index, kind] of KINDS.entries()) {
      const socket = sockets.find(({ id }) => id === clients[index].id);
      assert.equal(socket.protocol, isOld(kind.generation) ? 3 : 4);
      assert.equal(socket.transport, kind.transport === 'polling only' ? 'polling' : 'websocket');
      assert.equal(socket.address, '127.0.0.1');
      assert.ok(socket.rooms.includes(room));
      assert.ok(Math.abs(Date.parse(socket.connected) - Date.now()) < 60_000, socket.connected);
      assert.deepEqual((await api(gateway, 'GET', `/v1/sockets/${encodeURIComponent(socket.id)}`)).sockets, [socket]);
    }
    const erin = await user(t, KINDS[2], 'erin');
    const found = await api(gateway, 'GET', '/v1/sockets?namespace=/users&user=erin');
    assert.deepEqual(found.sockets.map(({ id, user: name }) => [id, name]), [[idOf(erin), 'erin']]);
    const list = await api(gateway, 'GET', `/v1/rooms?namespace=/&prefix=${encodeURIComponent(room)}`);
    assert.deepEqual(list.rooms, [{ room, sockets: 4 }]);
    clients[0].close();
    await eventually('one is gone', async () => (await api(gateway, 'GET', `/v1/rooms/${encodeURIComponent(room)}`)).rooms[0].sockets === 3);
    assert.equal((await call(gateway, 'GET', '/v1/sockets/nobody')).status, 404);
  });

  it('does what has one id once, and a batch in order', async (t) => {
    const [clients, room] = await everybody(t);
    const command = { rooms: [room], event: 'news', id: `id of ${room}` };
    const { results } = await batch([
      { join: { rooms: clients.map(({ id }) => id), join: [room] } },
      { emit: { ...command, args: [1] } },
      { emit: { ...command, args: [2] } },
      { emit: { rooms: [room], event: 'connect' } },
      { leave: { rooms: [clients[0].id], leave: [room] } },
      { emit: { rooms: [room], event: 'news', args: [3] } },
    ]);
    assert.deepEqual(results.map(({ ok, duplicate, error }) => [ok, duplicate, error]), [
      [true, undefined, undefined],
      [true, undefined, undefined],
      [true, true, undefined],
      [results[3].ok, undefined, 'bad_request'],
      [true, undefined, undefined],
      [true, undefined, undefined],
    ]);
    assert.deepEqual(await emit(gateway, { ...command, args: [4] }), { ok: true, duplicate: true });
    assert.deepEqual(await news(clients), [[1], [1, 3], [1, 3], [1, 3]]);
  });

  /** The results of a batch, whatever holds them. */
  async function batch(commands) {
    const answer = await api(gateway, 'POST', '/v1/batch', { commands });
    return Array.isArray(answer) ? { results: answer } : answer;
  }

  it('hundreds at a time, over connections that are kept, keep each connection\'s order', async (t) => {
    const [clients, room] = await everybody(t);
    for (const client of clients) await client.done('join', room);
    const lines = Array.from({ length: 8 }, async (_, line) => {
      for (let number = 0; number < 50; number += 1) await emit(gateway, { rooms: [room], event: 'news', args: [line, number] });
    });
    await Promise.all(lines);
    const orders = await Promise.all(clients.map((client) => client.heard('news', 400)));
    for (const order of orders) {
      assert.deepEqual(order, orders[0], 'all hear one order');
      for (let line = 0; line < 8; line += 1) {
        assert.deepEqual(order.filter(([from]) => from === line).map(([, number]) => number), Array.from({ length: 50 }, (_, number) => number));
      }
    }
  });

  it('refuses what is not as documented, and nobody hears of it', async (t) => {
    const [clients] = await everybody(t);
    const bad = [
      {},
      { event: '' },
      { event: 'connect', all: true },
      { event: 'x'.repeat(257), all: true },
      { event: 'news', rooms: [] },
      { event: 'news', rooms: null },
      { event: 'news', rooms: '' },
      { event: 'news', user: '' },
      { event: 'news', args: 'text' },
      { event: 'news', room: ['typo'] },
      { event: 'news', namespace: 'no slash' },
      { event: 'news', ack_timeout: '61s' },
      [],
      'text',
    ];
    for (const body of bad) {
      const { status, error, message } = await call(gateway, 'POST', '/v1/emit', body);
      assert.deepEqual([status, error, typeof message], [400, 'bad_request', 'string'], JSON.stringify(body));
    }
    const form = await fetch(`${gateway.adminUrl}/v1/emit`, { method: 'POST', body: new URLSearchParams({ event: 'news' }) });
    assert.equal(form.status, 415);
    const foreign = await call(gateway, 'POST', '/v1/emit', { event: 'news', all: true }, { origin: 'http://foreign.test' });
    assert.ok([401, 403].includes(foreign.status), 'a page of another site');
    assert.deepEqual(await news(clients), clients.map(() => []));
  });
});

describe('keys of the API', () => {
  it('without one nothing is done, with each of several it is', async (t) => {
    const keys = ['one-of-these-tests-0123456789-0123456789', 'another-of-these-tests-0123456789-012345'];
    const gateway = await Gateway.start({ admin: `keys = ${JSON.stringify(keys)}` });
    t.after(() => gateway.stop());
    const client = (await open(t, gateway.url, KINDS[3])).record('news');
    const ask = (authorization) =>
      call(gateway, 'POST', '/v1/emit', { all: true, event: 'news', args: [authorization] }, authorization === undefined ? {} : { authorization });
    for (const wrong of [undefined, '', 'Bearer', 'Bearer x', `Basic ${keys[0]}`, `Bearer ${keys[0]}x`, keys[0]]) {
      const { status, error } = await ask(wrong);
      assert.deepEqual([status, error], [401, 'unauthorized'], wrong);
    }
    for (const key of keys) assert.equal((await ask(`Bearer ${key}`)).status, 200);
    assert.deepEqual(await client.heard('news', 2), keys.map((key) => [`Bearer ${key}`]));
    for (const open of ['/livez', '/readyz', '/metrics']) assert.equal((await fetch(gateway.adminUrl + open)).status, 200);
  });
});
