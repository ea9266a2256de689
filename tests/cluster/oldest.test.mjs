/**
 * What the oldest servers and emitters publish is heard by a gateway's clients. They write an encoding of their own
 * (msgpack-js), the very first on channels of their own, and read no other: the way back there is none, as from today's
 * real servers.
 */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { binaries, VALUES } from '../clients/samples.mjs';
import { plain } from '../clients/wrap.mjs';
import { EMITTERS, makeEmitter } from './emitters.mjs';
import { connect, connectAll, fleet, GATEWAY } from './fleet.mjs';

/**
 * Who they are. The first servers publish what they have already put placeholders into, without the binary itself, and
 * cannot emit volatile events from outside of a socket; the first emitter knows no namespaces.
 */
const PUBLISHERS = {
  'Node 1, adapter 2': {},
  'Node 1.0': { lacksBinary: true, lacksVolatile: true },
  'socket.io-emitter 1.1.0': {},
  'socket.io-emitter 0.1.0': { lacksNamespaces: true },
};

/** Why these two are missing is told in `broadcast.test.mjs`. */
const values = Object.entries(VALUES).filter(([name]) => !['half of a surrogate pair', 'large and small numbers'].includes(name));
const attachments = Object.entries(binaries((bytes) => Buffer.from(bytes))).map(([name, args]) => [name, ...args]);

for (const [name, { lacksBinary, lacksVolatile, lacksNamespaces }] of Object.entries(PUBLISHERS)) {
  const isServer = !(name in EMITTERS);

  describe(`${name} to ${GATEWAY}`, () => {
    const cluster = fleet(isServer ? [GATEWAY, name] : [GATEWAY], { namespaces: ['/', '/chat'] });
    const setUp = async (t, options) => {
      const [gateway, server] = cluster.servers;
      const publisher = server ?? (await makeEmitter(t, cluster.redis, name));
      return { publisher, server, clients: await connectAll(t, gateway, options) };
    };

    for (const namespace of lacksNamespaces ? ['/'] : ['/', '/chat']) {
      it(`${namespace}: everybody, a room, several rooms, one socket`, async (t) => {
        const { publisher, clients } = await setUp(t, { namespace, events: ['news'] });
        const [inside, outside, ...rest] = clients;
        await inside.done('join', ['one', 'two']);
        await publisher.emit({ namespace }, 'news', 'all');
        await publisher.emit({ namespace, rooms: ['one'] }, 'news', 'one');
        await publisher.emit({ namespace, rooms: ['one', 'two'] }, 'news', 'both');
        await publisher.emit({ namespace, rooms: [outside.id] }, 'news', 'you');
        await publisher.emit({ namespace }, 'end');
        for (const client of clients) await client.heard('end');
        assert.deepEqual(inside.all('news'), [['all'], ['one'], ['both']]);
        assert.deepEqual(outside.all('news'), [['all'], ['you']]);
        for (const client of rest) assert.deepEqual(client.all('news'), [['all']], client.name);
      });
    }

    if (!lacksVolatile) {
      it('volatile', async (t) => {
        const { publisher, clients } = await setUp(t, { events: ['news'] });
        await publisher.emit({ flags: { volatile: true } }, 'news', 1);
        assert.deepEqual(await clients[0].heard('news'), [[1]]);
      });
    }

    it('every kind of value arrives unchanged', async (t) => {
      const { publisher, clients } = await setUp(t, { events: ['value'] });
      const sent = lacksBinary ? values : [...values, ...attachments];
      for (const args of sent) await publisher.emit({}, 'value', ...args);
      for (const client of clients) {
        const heard = await client.heard('value', sent.length);
        sent.forEach((args, index) => assert.deepEqual(heard[index], args.map(plain), `${client.name}: ${args[0]}`));
      }
    });

    if (!isServer) return;

    it('published by a client', async (t) => {
      const { server, clients } = await setUp(t, { events: ['news', 'all'] });
      const [far, outside] = clients;
      const near = await connect(t, server, '1.7.4', { events: ['news', 'all'] });
      await far.done('join', 'room');
      await near.done('join', 'room');
      await near.done('publish', 'room', 'news', 1, 'x'.repeat(200));
      await near.done('all', 2);
      for (const client of clients) assert.deepEqual(await client.heard('all'), [[2]], client.name);
      assert.deepEqual([far.all('news'), outside.all('news'), near.all('news')], [[[1, 'x'.repeat(200)]], [], []]);
    });
  });
}
