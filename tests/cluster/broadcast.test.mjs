/**
 * Broadcasts between two servers of a cluster: what one emits is heard by the clients of the other, once, unchanged, and
 * by nobody else. The speaker is a real Socket.IO server and the other one another, or a gateway; or both are gateways,
 * with an emitter for a voice.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { binaries, VALUES } from '../clients/samples.mjs';
import { plain } from '../clients/wrap.mjs';
import { connect, connectAll, fleet, GATEWAY } from './fleet.mjs';

const PAIRS = [
  ['Node 4', 'Node 4'],
  ['Node 4, ioredis', 'Node 4'],
  ['Node 4', 'Node 4, adapter 7'],
  ['Node 4', 'Node 2'],
  ['Node 2', 'Node 2'],
  ['Node 2', 'Node 1'],
  ['Node 1', 'Node 1'],
  [GATEWAY, GATEWAY],
  ['Node 4', GATEWAY],
  ['Node 4, ioredis', GATEWAY],
  ['Node 4, adapter 7', GATEWAY],
  ['Node 2', GATEWAY],
  ['Node 1', GATEWAY],
];

/** Plain names, and one with a glob character, which real servers do not escape when they subscribe to patterns. */
const NAMESPACES = ['/', '/chat', '/a*b'];

/**
 * What that costs them: they hear nothing in `/[ab]`, whose pattern matches `/a` and `/b`; and most hear everything twice
 * in `/axb`, which the pattern of `/a*b` matches too. A gateway hears both as they are.
 */
const DEAF_UPSTREAM = '/[ab]';
const DOUBLED_UPSTREAM = '/axb';

/** Rooms whose names a channel name could garble. */
const ROOMS = ['plain', 'with#hash', '#', 'star*', '[ab]?', 'üñí😀', '7', 'a b', 'x'.repeat(200)];

/**
 * Not half of a surrogate pair, which UTF-8 cannot hold: what it becomes is up to each encoding. And no integers from
 * 2^64 on: what real servers write has their lowest 64 bits, or those of a part, and the rest is lost.
 */
const values = Object.entries(VALUES).filter(([name]) => !['half of a surrogate pair', 'large and small numbers'].includes(name));
const attachments = Object.entries(binaries((bytes) => Buffer.from(bytes))).map(([name, args]) => [name, ...args]);

/** Resolves once everybody has heard the end that `emitted` brings about; what came before it has come by then. */
async function end(clients, emitted) {
  await emitted;
  await Promise.all(clients.map((client) => client.heard('end')));
}

for (const [speakerKind, otherKind] of PAIRS) {
  describe(`${speakerKind} and ${otherKind}`, () => {
    const cluster = fleet([speakerKind, otherKind], { namespaces: [...NAMESPACES, DEAF_UPSTREAM, DOUBLED_UPSTREAM] });
    const both = () => cluster.servers;

    for (const namespace of NAMESPACES) {
      it(`${namespace}: everybody there hears what either side emits, once`, async (t) => {
        const [speaker, other] = both();
        const [near, far] = await Promise.all(both().map((server) => connectAll(t, server, { namespace, events: ['hello', 'all'] })));
        const elsewhere = NAMESPACES.find((name) => name !== namespace && name !== '/');
        const stranger = await connect(t, other, other.clients.at(-1), { namespace: elsewhere, events: ['hello', 'all'] });
        await speaker.emit({ namespace }, 'hello', 'from here', 1);
        await far[0].done('all', 'from there', 2);
        for (const client of [...near, ...far]) assert.deepEqual(await client.heard('hello'), [['from here', 1]], client.name);
        for (const client of [...near, ...far.slice(1)]) assert.deepEqual(await client.heard('all'), [['from there', 2]], client.name);
        await end([...near, ...far], speaker.emit({ namespace }, 'end'));
        await end([stranger], speaker.emit({ namespace: elsewhere }, 'end'));
        for (const client of [...near, ...far]) assert.equal(client.all('hello').length, 1, client.name);
        assert.deepEqual([far[0].all('all'), stranger.all('all'), stranger.all('hello')], [[], [], []]);
      });
    }

    if (otherKind === GATEWAY) {
      for (const namespace of [DEAF_UPSTREAM, DOUBLED_UPSTREAM]) {
        it(`${namespace}: the gateway hears each event once where real servers do not`, async (t) => {
          const [speaker, other] = both();
          const far = await connectAll(t, other, { namespace, events: ['hello'] });
          await speaker.emit({ namespace }, 'hello', 1);
          await end(far, speaker.emit({ namespace }, 'end'));
          for (const client of far) assert.deepEqual(client.all('hello'), [[1]], client.name);
        });
      }

      it('a number of any size reaches real servers as it is', async (t) => {
        const [speaker, other] = both();
        const near = await connect(t, speaker, speaker.clients.at(-1), { events: ['value'] });
        const far = await connect(t, other, '4.8.4');
        await Promise.all([near, far].map((client) => client.done('join', 'values')));
        const numbers = [...VALUES['large and small numbers'], 2 ** 53, -(2 ** 63), 2 ** 64, -1e300];
        await far.done('publish', 'values', 'value', numbers);
        assert.deepEqual(await near.heard('value'), [[numbers]]);
      });
    }

    it('a room: its members hear it, on both servers, until they leave', async (t) => {
      const [speaker] = both();
      const clients = (await Promise.all(both().map((server) => connectAll(t, server, { events: ['news'] })))).flat();
      await Promise.all(clients.map((client) => client.done('join', ['room', 'late'])));
      await speaker.emit({ rooms: ['room'] }, 'news', 1);
      for (const client of clients) await client.heard('news');
      await Promise.all(clients.map((client) => client.done('leave', 'room')));
      await speaker.emit({ rooms: ['room'] }, 'news', 2);
      await speaker.emit({ rooms: ['late'] }, 'news', 3);
      for (const client of clients) assert.deepEqual(await client.heard('news', 2), [[1], [3]], client.name);
    });

    it('published by a client: members on both servers hear it, the publisher does not', async (t) => {
      const [near, far] = await Promise.all(both().map((server) => connectAll(t, server, { events: ['news'] })));
      const clients = [...near, ...far];
      await Promise.all(clients.map((client) => client.done('join', ['a', 'b'])));
      for (const client of clients) await client.done('publish', 'a', 'news', client.id);
      for (const client of clients) await client.heard('news', clients.length - 1);
      for (const client of clients) {
        const expected = clients.filter((other) => other !== client).map(({ id }) => id);
        assert.deepEqual(client.all('news').map(([id]) => id).sort(), expected.sort(), client.name);
      }
    });

    it('several rooms: a member of two hears it once', async (t) => {
      const [speaker, other] = both();
      const far = await connectAll(t, other, { events: ['news'] });
      const publisher = await connect(t, other, other.clients.at(-1), { events: ['news'] });
      const near = await connect(t, speaker, speaker.clients.at(-1), { events: ['news'] });
      for (const client of [...far, near, publisher]) await client.done('join', ['one', 'two']);
      await far[0].done('leave', 'two');
      await far[1].done('leave', ['one', 'two']);
      await speaker.emit({ rooms: ['one', 'two'] }, 'news', 'from here');
      await publisher.heard('news');
      await publisher.done('publish', ['one', 'two'], 'news', 'from there');
      await near.heard('news', 2);
      await end([...far, near], speaker.emit({}, 'end'));
      for (const client of [...far, near]) {
        const expected = client === far[1] ? [] : [['from here'], ['from there']];
        assert.deepEqual(client.all('news'), expected, client.name);
      }
    });

    it('rooms of any name, each heard in its own room alone', async (t) => {
      const [speaker, other] = both();
      const far = await connect(t, other, other.clients.at(-1), { events: ['news'] });
      const near = await connect(t, speaker, speaker.clients.at(-1), { events: ['news'] });
      for (const client of [far, near]) {
        for (const room of ROOMS) await client.done('join', room);
      }
      for (const room of ROOMS) await speaker.emit({ rooms: [room] }, 'news', room);
      await far.heard('news', ROOMS.length);
      for (const room of ROOMS) await far.done('publish', room, 'news', room);
      await near.heard('news', 2 * ROOMS.length);
      assert.deepEqual(far.all('news'), ROOMS.map((room) => [room]));
      assert.deepEqual(near.all('news'), [...ROOMS, ...ROOMS].map((room) => [room]));
    });

    it('a socket\'s id is a room of its own', async (t) => {
      const [speaker, other] = both();
      const far = await connectAll(t, other, { events: ['private'] });
      for (const client of far) await speaker.emit({ rooms: [client.id] }, 'private', client.id);
      await end(far, speaker.emit({}, 'end'));
      for (const client of far) assert.deepEqual(client.all('private'), [[client.id]], client.name);
    });

    it('volatile events arrive where nothing is in their way', async (t) => {
      const [speaker, other] = both();
      const far = await connectAll(t, other, { events: ['news'] });
      // A client that polls is away from time to time, and may miss it.
      const [awake] = far;
      await speaker.emit({ flags: { volatile: true } }, 'news', 1);
      assert.deepEqual(await awake.heard('news'), [[1]]);
    });

    it('every kind of value arrives unchanged, both ways', async (t) => {
      const [speaker, other] = both();
      const near = await connectAll(t, speaker, { events: ['value'] });
      const far = await connectAll(t, other, { events: ['value'] });
      for (const client of [...near, ...far]) await client.done('join', 'values');
      // Generation 4 does not mark binary in what it publishes, and a gateway writes what it does; generations 1 and 2
      // must have it marked, and hand their clients `{"type":"Buffer",…}` otherwise.
      const wantsMarks = (server) => !server.isGateway && !server.isModern;
      const all = [...values, ...attachments];
      const sent = !wantsMarks(speaker) && wantsMarks(other) ? values : all;
      const returned = wantsMarks(speaker) && !wantsMarks(other) ? values : sent;
      for (const args of sent) await speaker.emit({ rooms: ['values'] }, 'value', ...args);
      for (const client of [...near, ...far]) {
        const heard = await client.heard('value', sent.length);
        sent.forEach((args, index) => assert.deepEqual(heard[index], args.map(plain), `${client.name}: ${args[0]}`));
      }
      for (const publisher of far) {
        const before = near[0].all('value').length;
        for (const args of returned) await publisher.done('publish', 'values', 'value', ...args);
        for (const client of near) {
          const heard = (await client.heard('value', before + returned.length)).slice(before);
          returned.forEach((args, index) => assert.deepEqual(heard[index], args.map(plain), `${publisher.name} to ${client.name}: ${args[0]}`));
        }
      }
    });

    // Servers 1 and 2 take ids alone for those left out, not rooms.
    if (speakerKind.startsWith('Node 4') && otherKind !== 'Node 2') {
      it('those left out, by room or by id, hear nothing', async (t) => {
        const [speaker, other] = both();
        const far = await connectAll(t, other, { events: ['news'] });
        const [byRoom, byId, ...rest] = far;
        await byRoom.done('join', 'out');
        await speaker.emit({ except: ['out', byId.id] }, 'news', 1);
        for (const client of far) await client.done('join', 'in');
        await speaker.emit({ rooms: ['in'], except: ['out'] }, 'news', 2);
        await speaker.emit({ rooms: ['in', 'nobody'], except: [byId.id] }, 'news', 3);
        await end(far, speaker.emit({}, 'end'));
        for (const client of rest) assert.deepEqual(client.all('news'), [[1], [2], [3]], client.name);
        assert.deepEqual([byRoom.all('news'), byId.all('news')], [[[3]], [[2]]]);
      });
    }

    if (speakerKind.startsWith('Node 4')) {
      it('what is emitted locally stays there', async (t) => {
        const [speaker, other] = both();
        const [near, far] = await Promise.all(both().map((server) => connectAll(t, server, { events: ['news'] })));
        await speaker.emit({ flags: { local: true } }, 'news', 1);
        await end([...near, ...far], speaker.emit({}, 'end'));
        assert.deepEqual([near[0].all('news'), far[0].all('news')], [[[1]], []]);
      });
    }
  });
}
