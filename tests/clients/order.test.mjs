/**
 * All generations over all transports in one room: everybody hears everybody, once, in order.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { MATRIX, open, openAll, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';

/** Every publisher's events are in the order in which it sent them, none missing, none twice. */
function assertComplete(client, heard, publishers, count) {
  const next = new Map(publishers.map((publisher) => [publisher.name, 0]));
  for (const [from, number] of heard) {
    assert.equal(number, next.get(from), `${client.name} heard number ${number} of ${from}`);
    next.set(from, number + 1);
  }
  const others = publishers.filter((publisher) => publisher !== client);
  for (const publisher of others) assert.equal(next.get(publisher.name), count, `${client.name} of ${publisher.name}`);
}

describe('one room', () => {
  let gateway;
  before(async () => {
    gateway = await Gateway.start();
  });
  after(() => gateway.stop());

  it('everybody hears everybody else once, in one order that all agree on', async (t) => {
    const clients = await openAll(t, gateway.url);
    const witnesses = await Promise.all([
      open(t, gateway.url, { generation: '1.7.4', transport: 'polling only' }),
      open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' }),
    ]);
    const all = [...clients, ...witnesses];
    await Promise.all(all.map((client) => client.record('hello').done('join', 'room')));
    await Promise.all(clients.map((client) => client.done('publish', 'room', 'hello', client.name)));

    for (const witness of witnesses) await witness.heard('hello', clients.length);
    const order = witnesses[0].all('hello').map(([name]) => name);
    assert.deepEqual([...order].sort(), clients.map(({ name }) => name).sort());
    assert.deepEqual(witnesses[1].all('hello').map(([name]) => name), order);
    for (const client of clients) {
      await client.heard('hello', clients.length - 1);
      assert.deepEqual(client.all('hello').map(([name]) => name), order.filter((name) => name !== client.name), client.name);
    }
  });

  it('500 numbered events of each of several publishers arrive in order at each member', async (t) => {
    const count = 500;
    const clients = await openAll(t, gateway.url);
    const publishers = clients.filter((_, index) => index % 2 === 0);
    await Promise.all(clients.map((client) => client.record('number').done('join', 'room')));
    for (let number = 0; number < count; number += 1) {
      for (const publisher of publishers) publisher.socket.emit('publish', 'room', 'number', publisher.name, number);
      // Every now and then everything sent so far goes out, as it would from a real program.
      if (number % 50 === 0) await new Promise(setImmediate);
    }
    for (const client of clients) {
      const others = publishers.filter((publisher) => publisher !== client);
      const heard = await client.heard('number', others.length * count);
      assertComplete(client, heard, publishers, count);
    }
    const witness = clients.find((client) => !publishers.includes(client));
    const order = witness.all('number').map(([from, number]) => `${from} ${number}`);
    for (const client of clients) {
      const expected = order.filter((line) => !publishers.includes(client) || !line.startsWith(`${client.name} `));
      assert.deepEqual(client.all('number').map(([from, number]) => `${from} ${number}`), expected, client.name);
    }
  });

  for (const { generation } of MATRIX.filter(({ transport }) => transport === 'polling, then WebSocket')) {
    it(`${generation}: nothing is lost, doubled or reordered while it moves to WebSocket`, async (t) => {
      const count = 300;
      const name = 'mover';
      const listener = (await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' })).record('number');
      listener.name = 'listener';
      await listener.done('join', 'room');
      const mover = start(t, gateway.url, { generation, transport: 'polling, then WebSocket' });
      mover.name = name;
      mover.record('number');
      await mover.connected();
      await mover.done('join', 'room');
      for (let number = 0; number < count; number += 1) {
        mover.socket.emit('publish', 'room', 'number', name, number);
        listener.socket.emit('publish', 'room', 'number', 'listener', number);
        if (number % 5 === 0) await new Promise(setImmediate);
      }
      assertComplete(listener, await listener.heard('number', count), [mover], count);
      assertComplete(mover, await mover.heard('number', count), [listener], count);
      await mover.upgraded();
      await mover.done('publish', 'room', 'number', name, count);
      assertComplete(listener, await listener.heard('number', count + 1), [mover], count + 1);
    });
  }
});
