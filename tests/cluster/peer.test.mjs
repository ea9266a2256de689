/** What a gateway does as a peer of real servers that they do not do, or do otherwise. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { connect, connectAll, fleet, GATEWAY } from './fleet.mjs';

describe('a namespace with rules for presence', () => {
  const cluster = fleet(['Node 4', 'Node 2', GATEWAY, GATEWAY], { rules: 'presence = true' });

  it('members on all gateways are told of sockets that real servers move', async (t) => {
    const [modern, old, ...gateways] = cluster.servers;
    for (const generation of gateways[0].clients) {
      const watchers = [];
      for (const gateway of gateways) {
        const watcher = await connect(t, gateway, '4.8.4', { events: ['presence'] });
        await watcher.done('join', 'r');
        watchers.push(watcher);
      }
      const [first] = watchers;
      assert.equal((await first.heard('presence'))[0][0].socket, watchers[1].id);
      const client = await connect(t, gateways[1], generation, { events: ['presence'] });
      // Ids of old clients' sessions are never shown.
      const { socket } = await client.done('join', 'elsewhere');
      const turns = [
        ['join', () => modern.ask('socketsJoin', { rooms: [client.id], names: ['r', 'q'] })],
        ['leave', () => modern.ask('socketsLeave', { rooms: ['q'], names: ['r', 'nowhere'] })],
        ['join', () => old.ask('remoteJoin', { socket: client.id, room: 'r' })],
        ['leave', () => old.ask('remoteLeave', { socket: client.id, room: 'r' })],
        ['join', () => modern.ask('socketsJoin', { rooms: [socket], names: ['r'] })],
        ['leave', () => old.ask('remoteDisconnect', { socket: client.id, close: true })],
      ];
      for (const [index, [action, act]] of turns.entries()) {
        await act();
        for (const watcher of watchers) {
          const heard = await watcher.heard('presence', index + 1 + (watcher === first ? 1 : 0));
          assert.deepEqual(heard.at(-1), [{ room: 'r', action, socket, user: null }], `${generation}, turn ${index}`);
        }
      }
      assert.deepEqual(client.all('presence').filter(([{ socket: id }]) => id === socket), []);
      for (const watcher of watchers) await watcher.done('leave', 'r');
    }
  });
});

describe('a namespace in which a gateway has no sockets', () => {
  const cluster = fleet(['Node 4', 'Node 4', GATEWAY], { namespaces: ['/', '/chat'] });

  it('keeps nobody waiting, before its first socket comes and after its last is gone', async (t) => {
    const [asker, , gateway] = cluster.servers;
    const namespace = '/chat';
    assert.deepEqual(await asker.ask('fetchSockets', { namespace }), []);
    const clients = await connectAll(t, gateway, { namespace });
    assert.equal((await asker.ask('fetchSockets', { namespace })).length, clients.length);
    for (const client of clients) client.close();
    for (const client of clients) await client.disconnected();
    let found = clients;
    // The gateway hears of it a little later than its clients.
    for (let turn = 0; turn < 100 && found.length > 0; turn += 1) found = await asker.ask('fetchSockets', { namespace });
    assert.deepEqual(found, []);
    const { error, answers } = await asker.ask('serverSideAsk', { namespace, args: ['question', 3] });
    assert.equal(error, undefined);
    assert.deepEqual(answers.filter((answer) => answer !== null), [{ from: '4.8.4', number: 3 }]);
  });
});

describe('a gateway among servers that ask it all at once', () => {
  const cluster = fleet(['Node 4', 'Node 4, adapter 7', GATEWAY, GATEWAY]);

  it('each has its own answers', async (t) => {
    const [one, two, ...gateways] = cluster.servers;
    const clients = (await Promise.all(gateways.map((gateway) => connectAll(t, gateway)))).flat();
    for (const client of clients) client.socket.on('question', (number, answer) => answer(`${client.id} ${number}`));
    const numbers = Array.from({ length: 20 }, (_, index) => index);
    await Promise.all(
      numbers.flatMap((number) => {
        const asker = number % 2 ? one : two;
        const expected = clients.map(({ id }) => `${id} ${number}`).sort();
        const acknowledged = async () => {
          const { error, answers } = await asker.ask('emitWithAck', { milliseconds: 15_000, args: ['question', number] });
          assert.equal(error, undefined);
          assert.deepEqual(answers.sort(), expected);
        };
        const fetched = async () => {
          const found = await asker.ask('fetchSockets', { rooms: [clients[number % clients.length].id] });
          assert.deepEqual(found.map(({ id }) => id), [clients[number % clients.length].id]);
        };
        return [acknowledged(), fetched()];
      }),
    );
  });
});
