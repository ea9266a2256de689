/**
 * A backend behind the gateway as clients see it: let in and refused, answered, moved; and a backend that is slow, away or
 * lies.
 */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Backend, Raw, call } from './backend.mjs';
import { beside, isOld, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';
import { makeCertificate } from './provider.mjs';
import { eventually } from './wrap.mjs';

/** Kinds that differ in what is on the wire. */
const KINDS = [
  { generation: '1.7.4', transport: 'polling only' },
  { generation: '2.5.0', transport: 'WebSocket only' },
  { generation: '4.8.4', transport: 'polling only' },
  { generation: '4.8.4', transport: 'WebSocket only' },
].map((kind) => ({ ...kind, name: `${kind.generation}, ${kind.transport}` }));
const OLD = KINDS[1];
const NEW = KINDS[3];

/** By itself again, soon. */
const COMES_BACK = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100, randomizationFactor: 0 };

/** Answers that are none; each is wrong in one way. */
const LIES = {
  'status 500 with a good body': () => Raw.status(500, '{}', { 'Content-Type': 'application/json' }),
  'status 201': () => Raw.status(201, '{}'),
  'status 302': ({ url }) => Raw.status(302, '', { Location: url }),
  'no JSON': () => Raw.status(200, '<html>'),
  'nothing': () => Raw.status(200, ''),
  'a list': () => [],
  'a number for a text': () => ({ user: 5 }),
  'a text for a list': () => ({ ack: 'yes', rooms: 'lobby' }),
  'a field that there is not': () => ({ aks: [] }),
  '10 MB': () => ({ data: { text: 'x'.repeat(10_000_000) } }),
  'half of it': () => Raw.half,
};

const RULES = `
[[namespace]]
name = "/"
auth = "webhook"
otherwise = "webhook"
[[namespace]]
name = "/open"
otherwise = "webhook"
`;

/** A backend and a gateway before it for all tests of a `describe`. */
function pair({ webhook = 'timeout = "1s"', rest = RULES } = {}) {
  const pair = {};
  before(async () => {
    pair.backend = await Backend.start();
    pair.gateway = await Gateway.start({ rest: pair.backend.toml(webhook) + rest });
  });
  after(async () => {
    await pair.gateway.stop();
    await pair.backend.stop();
  });
  pair.client = (t, kind, more = {}) => open(t, pair.gateway.url, { ...kind, ...more });
  return pair;
}

/** Who a client says it is, so that the backend can tell clients apart. */
const as = (name, more = {}) => ({ query: { name, ...more } });
const nameOf = (hook) => hook.socket.query.name;

/** By name: what is answered to whom. */
const byName = (answers, otherwise = {}) => (hook) => {
  const answer = answers[nameOf(hook)];
  return answer === undefined ? otherwise : typeof answer === 'function' ? answer(hook) : answer;
};

describe('connect', () => {
  const shared = pair({ webhook: 'timeout = "1s"\nevents = ["connect", "connected", "event", "disconnect"]' });

  for (const kind of KINDS) {
    describe(kind.name, () => {
      it('the backend says who it is, where it is and what it may', async (t) => {
        const { backend, gateway } = shared;
        backend.answers.connect = { user: 'alice', rooms: ['staff'], join: ['team-*'], publish: ['staff'], data: { age: 7 } };
        const extraHeaders = { cookie: 'theme=dark', 'x-request-id': 'r-1', 'x-other': 'no' };
        const alice = await shared.client(t, kind, { ...as('alice'), extraHeaders, auth: { key: [1] } });
        const [{ socket, namespace, node }] = backend.of('connect').slice(-1);
        assert.equal(namespace, '/');
        assert.match(node, /./);
        assert.equal(nameOf({ socket }), 'alice');
        assert.deepEqual([socket.address, socket.protocol], ['127.0.0.1', isOld(kind.generation) ? 3 : 4]);
        assert.equal(socket.transport, kind.transport === 'polling only' ? 'polling' : 'websocket');
        assert.equal(socket.user, null);
        assert.equal(socket.headers.cookie, 'theme=dark');
        assert.equal(socket.headers['x-request-id'], 'r-1');
        assert.equal('x-other' in socket.headers, false);
        if (!isOld(kind.generation)) assert.deepEqual(socket.auth, { key: [1] });

        assert.deepEqual((await alice.done('join', 'team-1')).rooms, ['staff', 'team-1']);
        assert.equal((await alice.ask('join', 'other')).error, 'forbidden');
        await alice.done('publish', 'staff', 'news', 1);
        assert.equal((await alice.ask('publish', 'team-1', 'news', 1)).error, 'forbidden');
        assert.deepEqual((await alice.done('members', 'staff')).members.map(({ user }) => user), ['alice']);
        await alice.done('anything');
        const [event] = await backend.asked('event', { event: 'anything', socket: socket.id });
        assert.deepEqual([event.socket.user, event.socket.data], ['alice', { age: 7 }]);
        assert.deepEqual(event.socket.rooms.filter((room) => room.length < 20), ['staff', 'team-1']);
        assert.equal(backend.of('connected', { socket: socket.id }).length, 1);
        alice.close();
        const [gone] = await backend.asked('disconnect', { socket: socket.id });
        assert.equal(gone.reason, 'client_left');
        assert.deepEqual([gone.socket.user, gone.socket.data], ['alice', { age: 7 }]);
        assert.ok(gateway.isRunning);
      });

      it('a refusal says what the backend says', async (t) => {
        const { backend, gateway } = shared;
        const answers = {
          both: [{ deny: { message: 'banned', data: { until: 5 } } }, 'banned', { until: 5 }],
          text: [{ deny: { message: 'full 😀' } }, 'full 😀'],
          empty: [{ deny: {} }, 'forbidden'],
          401: [Raw.status(401), 'unauthorized'],
          403: [Raw.status(403, 'no JSON'), 'forbidden'],
        };
        backend.answers.connect = byName(Object.fromEntries(Object.entries(answers).map(([name, [answer]]) => [name, answer])));
        const refusals = Object.entries(answers).map(async ([name, [, message, data]]) => {
          const refused = await start(t, gateway.url, { ...kind, ...as(name) }).refused();
          if (!isOld(kind.generation)) assert.deepEqual([refused.message, refused.data], [message, data], name);
          else assert.deepEqual(refused, data ? { message, data } : message, name);
        });
        await Promise.all(refusals);
      });

      it('actions run after it is in, and not at all when it is refused', async (t) => {
        const { backend, gateway } = shared;
        const actions = [{ emit: { event: 'welcome', args: ['you'] } }, { emit: { all: true, event: 'new', args: [] } }];
        backend.answers.connect = byName({ in: { actions }, out: { deny: {}, actions } });
        const inside = start(t, gateway.url, { ...kind, ...as('in') }).record('welcome', 'new', 'end');
        assert.deepEqual(await inside.heard('welcome'), [['you']]);
        await inside.heard('new');
        await start(t, gateway.url, { ...kind, ...as('out') }).refused();
        backend.answers.done = { actions: [{ emit: { event: 'end' } }] };
        await inside.done('done');
        await inside.heard('end');
        assert.deepEqual(inside.everything.map(([event]) => event), ['welcome', 'new', 'end']);
      });
    });
  }

  it('without a verdict the session ends, and clients come back by themselves', async (t) => {
    const { backend, gateway } = shared;
    const lies = { ...LIES, 'no answer in time': () => Raw.silence };
    const lied = new Set();
    backend.answers.connect = (hook) => {
      const [, lie] = nameOf(hook).split('/');
      if (lied.has(nameOf(hook)) || !lie) return { data: {} };
      lied.add(nameOf(hook));
      return lies[lie]({ url: `http://127.0.0.1:${backend.port}/elsewhere` });
    };
    const clients = KINDS.flatMap((kind) =>
      Object.keys(lies).map(async (lie) => {
        const name = `${kind.name}/${lie}`;
        const back = start(t, gateway.url, { ...kind, ...as(name), ...COMES_BACK });
        await back.connected();
        assert.deepEqual(back.errors, [], name);
        assert.ok(backend.of('connect').filter((hook) => nameOf(hook) === name).length >= 2, `${name} was asked about again`);
      }),
    );
    await Promise.all(clients);
    assert.equal(lied.size, clients.length);
  });

  it('without a verdict a namespace beside another is refused as unavailable', async (t) => {
    const { backend, gateway } = shared;
    backend.answers.connect = byName({}, Raw.status(500));
    for (const kind of [OLD, NEW]) {
      const first = await open(t, gateway.url, { ...kind, ...as('x'), namespace: '/open' }).catch((error) => error);
      // Clients 1.x and 2.x enter the root first, where there is no verdict.
      if (isOld(kind.generation)) continue;
      const root = beside(t, first, '/');
      assert.equal((await root.refused()).message, 'unavailable');
      assert.equal(await first.ask('anything').then(({ ok }) => ok), true);
      assert.deepEqual(first.disconnects, []);
    }
  });

  it('`connected` and `disconnect` come from namespaces that ask nobody, too', async (t) => {
    const { backend } = shared;
    const kind = { ...NEW, namespace: '/open' };
    const guest = await shared.client(t, kind, as('guest'));
    const [{ namespace, socket }] = await backend.asked('connected', { socket: guest.id });
    assert.deepEqual([namespace, socket.user, nameOf({ socket })], ['/open', null, 'guest']);
    assert.deepEqual(backend.of('connect', { socket: guest.id }), []);
    guest.close();
    assert.equal((await backend.asked('disconnect', { socket: socket.id }))[0].namespace, '/open');
  });
});

describe('events', () => {
  const shared = pair({ rest: '[[namespace]]\nname = "/"\nrooms = ["lobby"]\notherwise = "webhook"\n' });

  for (const kind of KINDS) {
    describe(kind.name, () => {
      it('the answer\'s ack is the acknowledgement, all of it', async (t) => {
        const { backend, client } = shared;
        const one = await client(t, kind);
        backend.answers.sum = ({ args: [a, b] }) => ({ ack: [a + b, { of: [a, b] }, null, 'é😀'] });
        assert.deepEqual(await one.askAll('sum', 1, 2), [3, { of: [1, 2] }, null, 'é😀']);
        backend.answers.none = { ack: [] };
        assert.deepEqual(await one.askAll('none'), []);
        assert.deepEqual(await one.askAll('unknown to the backend', { n: 1 }), [{ ok: true }]);
        backend.answers.silent = () => undefined;
        assert.deepEqual(await one.askAll('silent'), [{ ok: true }], 'status 204');
        const [{ args }] = backend.of('event', { event: 'unknown to the backend', socket: one.id });
        assert.deepEqual(args, [{ n: 1 }]);
      });

      it('binary, both ways, in acknowledgements and events', async (t) => {
        const { backend, client } = shared;
        const one = (await client(t, kind)).record('bytes');
        backend.answers.upload = ({ args: [text, bytes] }) => ({
          ack: [{ name: text, bytes }],
          actions: [{ emit: { event: 'bytes', args: [{ nested: [bytes] }, bytes] } }],
        });
        const bytes = Array.from({ length: 300 }, (_, index) => (index * 7) % 256);
        assert.deepEqual(await one.ask('upload', 'é', Buffer.from(bytes)), { name: 'é', bytes: { bytes } });
        assert.deepEqual(await one.heard('bytes'), [[{ nested: [{ bytes }] }, { bytes }]]);
        const [{ args }] = backend.of('event', { event: 'upload', socket: one.id });
        assert.deepEqual(args, ['é', { $binary: Buffer.from(bytes).toString('base64') }]);
      });

      it('data in an answer comes with all that follows', async (t) => {
        const { backend, client } = shared;
        const one = await client(t, kind);
        backend.answers.count = ({ socket: { data } }) => ({ data: { n: (data?.n ?? 0) + 1 }, ack: [data?.n ?? 0] });
        for (const number of [0, 1, 2]) assert.equal(await one.ask('count'), number);
        const { id } = one;
        one.close();
        const [{ socket }] = await backend.asked('disconnect', { socket: id });
        assert.deepEqual(socket.data, { n: 3 });
      });

      it('actions: emits, rooms and disconnects, of this socket where no other is named, before the acknowledgement', async (t) => {
        const { backend, client } = shared;
        const [one, other] = [await client(t, kind), await client(t, NEW)];
        for (const each of [one, other]) each.record('mine', 'lobby', 'all', 'not me', 'third');
        backend.answers.act = ({ socket: { id } }) => ({
          actions: [
            { emit: { event: 'mine', args: [1] } },
            { emit: { rooms: ['lobby'], event: 'lobby', args: [2] } },
            { emit: { all: true, event: 'all', args: [3] } },
            { emit: { rooms: ['lobby'], except: [id], event: 'not me' } },
            { emit: { rooms: [], event: 'nobody' } },
            { join: { join: ['third'] } },
            { leave: { leave: ['lobby'] } },
            { emit: { rooms: ['third'], event: 'third' } },
          ],
          ack: ['done'],
        });
        assert.equal(await one.ask('act'), 'done');
        assert.deepEqual(one.everything.map(([event]) => event), ['mine', 'lobby', 'all', 'third']);
        assert.deepEqual((await one.done('join', 'x')).rooms.sort(), ['third', 'x']);
        await other.heard('not me');
        assert.deepEqual(other.everything, [['lobby', 2], ['all', 3], ['not me']]);
        backend.answers.go = { actions: [{ disconnect: {} }] };
        const { id } = one;
        one.socket.emit('go');
        assert.match(await one.disconnected(), /io server disconnect/);
        const [{ reason }] = await backend.asked('disconnect', { socket: id });
        assert.equal(reason, 'kicked');
        assert.deepEqual(other.disconnects, []);
      });

      it('what is no answer: `unavailable`, or `timeout` where it takes too long; the next one counts', async (t) => {
        const { backend, client } = shared;
        const one = (await client(t, kind)).record('never');
        for (const [lie, answer] of Object.entries(LIES)) {
          backend.answers.ask = () => answer({ url: `http://127.0.0.1:${backend.port}/elsewhere` });
          const refused = await one.ask('ask');
          assert.deepEqual([refused.ok, refused.error], [false, 'unavailable'], lie);
        }
        // One good part does not make the rest good.
        backend.answers.ask = { actions: [{ emit: { event: 'never' } }], data: [], ack: [1] };
        const half = await one.ask('ask');
        backend.answers.ask = { ack: [1] };
        assert.equal(await one.ask('ask'), 1);
        assert.equal(half.error ?? 'taken', half.error);
        assert.deepEqual(one.all('never'), []);
        backend.answers.ask = Raw.silence;
        const late = await one.ask('ask');
        assert.deepEqual([late.ok, late.error], [false, 'timeout']);
        assert.equal(backend.of('event', { event: 'ask', socket: one.id }).length, Object.keys(LIES).length + 3, 'nothing was asked twice');
        assert.deepEqual(one.disconnects, []);
      });

      it('what comes behind an event that wants an acknowledgement waits for its actions', async (t) => {
        const { backend, client } = shared;
        const [one, other] = [await client(t, kind), await client(t, NEW)];
        other.record('first', 'second', 'third');
        await other.done('join', 'free');
        let answer;
        backend.answers.slow = () => new Promise((resolve) => (answer = resolve));
        const slow = one.ask('slow');
        one.socket.emit('publish', 'lobby', 'second');
        const left = one.done('leave', 'lobby');
        await backend.asked('event', { event: 'slow', socket: one.id });
        // Nobody else is held up.
        assert.deepEqual(await other.ask('quick'), { ok: true });
        assert.deepEqual(other.everything, []);
        answer({ actions: [{ emit: { rooms: ['lobby'], event: 'first' } }], ack: ['slowly'] });
        assert.equal(await slow, 'slowly');
        await left;
        await other.heard('second');
        assert.deepEqual(other.everything, [['first'], ['second']]);
      });

      it('events of one client arrive in order, one at a time, `disconnect` last, retries included', async (t) => {
        const { backend, client } = shared;
        const one = await client(t, kind);
        let atWork = 0;
        let most = 0;
        const tried = new Set();
        backend.answers.step = async ({ id, args: [number] }) => {
          atWork += 1;
          most = Math.max(most, atWork);
          await new Promise(setImmediate);
          atWork -= 1;
          if (number !== 3 || tried.has(id)) return {};
          tried.add(id);
          return Raw.status(503);
        };
        for (let number = 0; number <= 6; number += 1) one.socket.emit('step', number);
        const { id } = one;
        await one.done('leave', 'nowhere'); // all of them are there, and wait for the one that is tried again
        one.close();
        await backend.asked('disconnect', { socket: id });
        const seen = backend.hooks.filter((hook) => hook.socket.id === id).map((hook) => hook.args?.[0] ?? hook.type);
        assert.deepEqual(seen, [0, 1, 2, 3, 3, 4, 5, 6, 'disconnect']);
        const [first, again] = backend.of('event', { event: 'step', socket: id }).filter(({ args }) => args[0] === 3);
        assert.equal(first.id, again.id);
        assert.equal(first.headers['roomcast-id'], again.headers['roomcast-id']);
        assert.equal(new Set(backend.hooks.filter((hook) => hook.socket.id === id).map((hook) => hook.id)).size, 8);
        assert.equal(most, 1);
      });
    });
  }

  it('what is done for a socket that is gone is never done to others', async (t) => {
    const { backend, client } = shared;
    const [one, other] = [await client(t, OLD), await client(t, NEW)];
    other.record('mine', 'all');
    let answer;
    backend.answers.late = () => new Promise((resolve) => (answer = resolve));
    one.socket.emit('late', () => {});
    await backend.asked('event', { event: 'late', socket: one.id });
    const { id } = one;
    one.close();
    // The gateway knows that it is gone once it tells others so; `disconnect` itself comes behind this event.
    const found = () => call(shared.gateway, 'GET', `/v1/sockets/${encodeURIComponent(id)}`);
    await eventually('the socket is gone', async () => (await found()).status === 404);
    answer({ actions: [{ emit: { event: 'mine' } }, { disconnect: {} }, { emit: { rooms: ['lobby'], event: 'all' } }] });
    await other.heard('all');
    await backend.asked('disconnect', { socket: id });
    assert.deepEqual(other.everything, [['all']]);
    assert.deepEqual(other.disconnects, []);
  });

  it('too many events behind one that waits are refused, and the client stays', async (t) => {
    const { backend, client } = shared;
    const one = await client(t, NEW);
    let answer;
    backend.answers.slow = () => new Promise((resolve) => (answer = resolve));
    const slow = one.ask('slow');
    await backend.asked('event', { event: 'slow', socket: one.id });
    const rest = Array.from({ length: 1_100 }, (_, number) => one.ask('quick', number));
    const refused = await Promise.race(rest);
    assert.equal(refused.error, 'rate_limited');
    answer({});
    assert.deepEqual(await slow, { ok: true });
    const answers = await Promise.all(rest);
    assert.ok(answers.filter(({ ok }) => ok).length >= 1_024);
    assert.deepEqual(one.disconnects, []);
  });
});

describe('a backend that is away', () => {
  const shared = pair({ rest: '[[namespace]]\nname = "/"\notherwise = "webhook"\n' });

  it('is asked no more after ten failures of three sockets, and again once it is back', async (t) => {
    const { backend, client } = shared;
    const clients = await Promise.all(KINDS.map((kind) => client(t, kind)));
    for (const each of clients) assert.deepEqual(await each.ask('hello'), { ok: true });
    await backend.down();
    for (let turn = 0; turn < 4; turn += 1) {
      for (const each of clients) assert.equal((await each.ask('hello')).error, 'unavailable');
    }
    await backend.up();
    const [one] = clients;
    // Who asks in between is answered without the backend; one of them is let through every second.
    await eventually('the backend is asked again', async () => (await one.ask('hello')).ok);
    for (const each of clients) assert.deepEqual([await each.ask('hello'), each.disconnects], [{ ok: true }, []]);
    assert.match(shared.gateway.log, /WARN.*webhooks get no good answer.*why="connection"/);
  });
});

describe('a backend that is wrong', () => {
  for (const [answer, why] of [
    [{ aks: [] }, 'unknown field `aks`'],
    [{ ack: {} }, 'a list or an object is wanted'],
    [[], 'it is no JSON object'],
    [Raw.status(302), 'status 302'],
  ]) {
    it(`${why}: the log says so`, async (t) => {
      const backend = await Backend.start();
      const gateway = await Gateway.start({ rest: backend.toml() + '[[namespace]]\nname = "/"\notherwise = "webhook"\n' });
      t.after(async () => {
        await gateway.stop();
        await backend.stop();
      });
      backend.answers.hello = answer;
      const client = await open(t, gateway.url, NEW);
      for (let turn = 0; turn < 3; turn += 1) assert.equal((await client.ask('hello')).error, 'unavailable');
      await eventually('it is in the log', () => gateway.log.includes(why));
      assert.equal(gateway.log.split('webhooks get no good answer').length, 2, 'once');
    });
  }
});

describe('a gateway that stops', () => {
  it('tells of everybody who was there', async (t) => {
    const backend = await Backend.start();
    t.after(() => backend.stop());
    const gateway = await Gateway.start({ rest: backend.toml() + '[[namespace]]\nname = "/"\n[[namespace]]\nname = "/chat"\n' });
    t.after(() => gateway.remove());
    const namespaces = ['', '/chat'];
    const clients = await Promise.all(KINDS.flatMap((kind) => namespaces.map((namespace) => open(t, gateway.url, { ...kind, namespace }))));
    await gateway.halt();
    for (const client of clients) await client.disconnected();
    const told = backend.of('disconnect');
    // Clients 1.x and 2.x are in the root, too.
    assert.equal(told.length, clients.length + 2);
    assert.equal(new Set(told.map(({ socket }) => socket.id)).size, told.length);
    for (const { reason } of told) assert.match(reason, /^(draining|shutdown)$/);
  });
});

describe('a backend by https', () => {
  it('is asked when its certificate is trusted, and not at all when it is not', async (t) => {
    const { authority, certificate } = await makeCertificate(t);
    const backend = await Backend.start(certificate);
    const rest = backend.toml('events = ["event"]') + '[[namespace]]\nname = "/"\notherwise = "webhook"\n';
    const trusting = await Gateway.start({ rest, variables: { SSL_CERT_FILE: authority } });
    const other = await Gateway.start({ rest });
    t.after(async () => {
      for (const gateway of [trusting, other]) await gateway.stop();
      await backend.stop();
    });
    backend.answers.hello = { ack: ['privately'] };
    for (const kind of KINDS) assert.equal(await (await open(t, trusting.url, kind)).ask('hello'), 'privately');
    const asked = backend.hooks.length;
    assert.equal((await (await open(t, other.url, NEW)).ask('hello')).error, 'unavailable');
    assert.equal(backend.hooks.length, asked);
  });
});
