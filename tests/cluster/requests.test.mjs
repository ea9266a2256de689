/**
 * What a Socket.IO 4 server asks of the others, and has them do: about sockets of another real server, or of a gateway.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { connect, connectAll, fleet, GATEWAY } from './fleet.mjs';

const PAIRS = [
  ['Node 4', 'Node 4'],
  ['Node 4, ioredis', 'Node 4'],
  ['Node 4, adapter 7', 'Node 4'],
  ['Node 4', 'Node 4, adapter 7'],
  ['Node 4', 'Node 4, answering in private'],
  ['Node 4', GATEWAY],
  ['Node 4, answering in private', GATEWAY],
  ['Node 4, ioredis', GATEWAY],
  ['Node 4, adapter 7', GATEWAY],
];

const NAMESPACES = ['/', '/chat'];
const ids = (sockets) => sockets.map(({ id }) => id).sort();
const idsOf = (clients) => ids(clients);

for (const [askerKind, otherKind] of PAIRS) {
  describe(`${askerKind} asks ${otherKind}`, () => {
    const cluster = fleet([askerKind, otherKind], { namespaces: NAMESPACES });
    const setUp = async (t, options = {}) => {
      const [asker, other] = cluster.servers;
      return { asker, other, clients: await connectAll(t, other, options) };
    };

    it('fetchSockets: who is there, in which rooms, with which handshake and data', async (t) => {
      const { asker, other } = await setUp(t);
      const extraHeaders = { cookie: 'theme=dark', 'user-agent': 'tests' };
      const client = await connect(t, other, '4.8.4', { name: 'alice', extraHeaders, auth: { token: 'abc', n: [1] } });
      await client.done('join', ['a', 'b']);
      const found = await asker.ask('fetchSockets', { rooms: ['a'] });
      assert.deepEqual(ids(found), [client.id]);
      const [{ rooms, data, handshake }] = found;
      assert.equal(rooms[0], client.id);
      assert.deepEqual(rooms.slice(1).sort(), ['a', 'b']);
      // Nobody's code runs in a gateway that could keep anything with a socket.
      assert.deepEqual(data, other.isGateway ? {} : { name: 'alice' });
      assert.equal(handshake.query.name, 'alice');
      assert.equal(handshake.query.EIO, '4');
      assert.equal(handshake.address.replace('::ffff:', ''), '127.0.0.1');
      assert.match(handshake.url, /^\/socket\.io\/\?/);
      assert.equal(new Date(handshake.time).getTime(), Math.floor(handshake.issued / 1000) * 1000);
      assert.deepEqual([handshake.secure, handshake.xdomain], [false, false]);
      assert.deepEqual(handshake.auth, { token: 'abc', n: [1] });
      const { cookie, 'user-agent': userAgent } = handshake.headers;
      assert.deepEqual({ cookie, 'user-agent': userAgent }, extraHeaders);
    });

    for (const namespace of NAMESPACES) {
      it(`${namespace}: fetchSockets over both servers, by room, by id, without some`, async (t) => {
        const { asker, other, clients } = await setUp(t, { namespace });
        const near = await connect(t, asker, '4.8.4', { namespace });
        const [first, second, third] = clients;
        assert.deepEqual(ids(await asker.ask('fetchSockets', { namespace })), idsOf([...clients, near]));
        await Promise.all([first, second, near].map((client) => client.done('join', 'r')));
        await third.done('join', 's');
        const fetch = async (to) => ids(await asker.ask('fetchSockets', { namespace, ...to }));
        assert.deepEqual(await fetch({ rooms: ['r'] }), idsOf([first, second, near]));
        assert.deepEqual(await fetch({ rooms: ['r', 's'] }), idsOf([first, second, third, near]));
        assert.deepEqual(await fetch({ rooms: ['r', 's'], except: ['s', first.id] }), idsOf([second, near]));
        assert.deepEqual(await fetch({ rooms: [first.id] }), [first.id]);
        assert.deepEqual(await fetch({ rooms: ['nobody'] }), []);
        // The deprecated question, which adapter 8 answers but asks nobody.
        const all = await asker.ask('allSockets', { namespace, rooms: ['r'] });
        assert.deepEqual(all.sort(), idsOf(askerKind === 'Node 4, adapter 7' ? [first, second, near] : [near]));
        const rooms = new Set(await asker.ask('allRooms', { namespace }));
        assert.deepEqual(['r', 's', first.id, near.id].filter((room) => !rooms.has(room)), []);
        first.close();
        await first.disconnected();
        // The server hears of it a little later than the client.
        let left = await fetch({ rooms: ['r'] });
        for (let turn = 0; turn < 100 && left.length > 2; turn += 1) left = await fetch({ rooms: ['r'] });
        assert.deepEqual(left, idsOf([second, near]), other.name);
      });

      it(`${namespace}: socketsJoin and socketsLeave`, async (t) => {
        const { asker, other, clients } = await setUp(t, { namespace, events: ['news'] });
        const [first, second, ...rest] = clients;
        await first.done('join', 'r');
        await second.done('join', ['r', 'out']);
        const emit = (rooms, number) => asker.emit({ namespace, rooms }, 'news', number);
        await asker.ask('socketsJoin', { namespace, rooms: ['r'], except: ['out'], names: ['made', 'kept'] });
        for (const room of ['made', 'kept']) await cluster.redis.hears(other, room, namespace);
        await emit(['made'], 1);
        await asker.ask('socketsJoin', { namespace, names: ['everybody'] });
        await cluster.redis.hears(other, 'everybody', namespace);
        await emit(['everybody'], 2);
        await asker.ask('socketsLeave', { namespace, rooms: [first.id], names: ['made'] });
        await emit(['made'], 3);
        await emit(['kept'], 4);
        await asker.emit({ namespace }, 'end');
        for (const client of clients) await client.heard('end');
        assert.deepEqual(first.all('news'), [[1], [2], [4]]);
        for (const client of [second, ...rest]) assert.deepEqual(client.all('news'), [[2]], client.name);
        const { rooms } = await first.done('join', 'last');
        assert.deepEqual(rooms.sort(), ['everybody', 'kept', 'last', 'r']);
      });
    }

    it('disconnectSockets: the namespace alone, or the connection', async (t) => {
      const { asker, clients } = await setUp(t);
      const [first, second, ...rest] = clients;
      await asker.ask('disconnectSockets', { rooms: [first.id], close: false });
      assert.equal(await first.disconnected(), 'io server disconnect');
      await asker.ask('disconnectSockets', { except: rest.map(({ id }) => id), close: true });
      assert.match(await second.disconnected(), /io server disconnect|transport close/);
      for (const client of rest) assert.deepEqual([await client.ask('echo', 1), client.disconnects], [1, []]);
    });

    it('what is emitted before somebody is moved or sent away is heard', async (t) => {
      const { asker, other, clients } = await setUp(t, { events: ['news'] });
      await Promise.all(clients.map((client) => client.done('join', ['r', 's'])));
      const numbers = Array.from({ length: 50 }, (_, index) => index);
      const emit = async (rooms) => Promise.all(numbers.map((number) => asker.emit({ rooms }, 'news', number)));
      await Promise.all([emit(['r']), asker.ask('socketsLeave', { names: ['r'] }), emit(['r']), emit(['s']), asker.ask('disconnectSockets', { rooms: ['s'], close: true })]);
      for (const client of clients) {
        await client.disconnected();
        assert.deepEqual(client.all('news'), [...numbers, ...numbers].map((number) => [number]), `${client.name} of ${other.name}`);
      }
    });

    it('emitWithAck: an answer of each client, the first argument of each', async (t) => {
      const { asker, clients } = await setUp(t);
      const near = await connect(t, asker, '4.8.4');
      for (const client of [...clients, near]) client.socket.on('question', (number, answer) => answer({ id: client.id, number }, 'more'));
      const { error, answers } = await asker.ask('emitWithAck', { milliseconds: 15_000, args: ['question', 7] });
      assert.equal(error, undefined);
      assert.deepEqual(ids(answers), idsOf([...clients, near]));
      assert.deepEqual(answers.map(({ number }) => number), answers.map(() => 7));
      assert.deepEqual(await asker.ask('emitWithAck', { rooms: ['nobody'], milliseconds: 15_000, args: ['question', 7] }), { answers: [] });
    });

    it('emitWithAck: binary, both ways', async (t) => {
      const { asker, clients } = await setUp(t);
      for (const client of clients) client.socket.on('question', (bytes, answer) => answer(bytes));
      const { answers } = await asker.ask('emitWithAck', { milliseconds: 15_000, args: ['question', Buffer.from([1, 2, 3])] });
      assert.deepEqual(answers.map((bytes) => [...bytes]), clients.map(() => [1, 2, 3]));
    });

    it('emitWithAck: after the timeout, the answers that there are', async (t) => {
      const { asker, clients } = await setUp(t);
      const [silent, ...rest] = clients;
      for (const client of rest) client.socket.on('question', (answer) => answer(client.id));
      silent.record('question');
      const { error, answers } = await asker.ask('emitWithAck', { milliseconds: 1000, args: ['question'] });
      assert.match(error, /timed out/);
      assert.deepEqual(answers.sort(), idsOf(rest));
    });

    it('emitWithAck: answers that come too late are nobody\'s', async (t) => {
      const { asker, clients } = await setUp(t);
      const late = [];
      for (const client of clients) client.socket.on('question', (number, answer) => (number === 1 ? late.push(answer) : answer(number)));
      const question = (number, milliseconds) => asker.ask('emitWithAck', { milliseconds, args: ['question', number] });
      const { error, answers } = await question(1, 300);
      assert.match(error, /timed out/);
      assert.deepEqual(answers, []);
      const second = question(2, 15_000);
      for (const answer of late) answer('late');
      assert.deepEqual(await second, { answers: clients.map(() => 2) });
      assert.equal(late.length, clients.length);
    });

    it('serverSideEmit: an answer of each server', async (t) => {
      const { asker, other } = await setUp(t);
      const { error, answers } = await asker.ask('serverSideAsk', { args: ['question', 3] });
      assert.equal(error, undefined);
      // A gateway runs nobody's code. It answers null, so that nobody waits for it until the time is over.
      assert.deepEqual(answers, [other.isGateway ? null : { from: '4.8.4', number: 3 }]);
      await asker.ask('serverSideEmit', { args: ['note', 'x', Buffer.from([1])] });
      if (!other.isGateway) assert.equal((await other.noted(1))[0][0], 'x');
    });
  });
}

describe('a server that answers null', () => {
  const cluster = fleet(['Node 4', 'Node 4'], { requestsTimeout: 1000 });

  it('is counted, and is what serverSideEmit with an acknowledgement can live with', async (t) => {
    const [asker] = cluster.servers;
    const [listener, speaker] = [cluster.redis.connect(t), cluster.redis.connect(t)];
    const published = [];
    listener.on('message', (channel, text) => {
      const { type, requestId } = JSON.parse(text);
      if (requestId) published.push(speaker.publish('socket.io-response#/#', JSON.stringify({ type, requestId, data: null })));
    });
    await listener.subscribe('socket.io-request#/#');
    const { error, answers } = await asker.ask('serverSideAsk', { args: ['question', 3] });
    assert.equal(error, undefined);
    assert.deepEqual(answers.filter((answer) => answer !== null), [{ from: '4.8.4', number: 3 }]);
    assert.equal(answers.length, 2);
    // It must not answer the next test's question while its connection is being closed.
    await listener.unsubscribe();
    await Promise.all(published);
  });

  it('a real server without an answer makes the asker wait, and fail', async () => {
    const [asker] = cluster.servers;
    const { error } = await asker.ask('serverSideAsk', { args: ['unanswered'] });
    assert.match(error, /timeout reached/);
  });
});
