/**
 * The recipes of README.md that need an application: its blocks are taken as they stand, and stock clients see what the text
 * says.
 */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';

import { Backend, SECRET as WEBHOOK_SECRET } from './backend.mjs';
import { isOld, open, start } from './clients.mjs';
import { Gateway } from './gateway.mjs';

const require = createRequire(import.meta.url);
const README = await readFile(new URL('../../README.md', import.meta.url), 'utf8');

/** As the README has them. */
const SECRET = 'change-me-0123456789-0123456789-0123456789';

const KINDS = [
  { generation: '1.7.4', transport: 'polling only' },
  { generation: '2.5.0', transport: 'WebSocket only' },
  { generation: '4.8.4', transport: 'polling, then WebSocket' },
];
const OLD = KINDS[1];
const NEW = KINDS[2];

/** The blocks of a language in a recipe. */
function blocks(recipe, language) {
  const [, text] = README.split(`\n### ${recipe}\n`);
  assert.ok(text, `README.md has no recipe "${recipe}"`);
  const section = text.split(/\n###? /)[0];
  return section.split(`\n\`\`\`${language}\n`).slice(1).map((rest) => rest.split('\n```')[0]);
}

/** What a recipe's `curl` sends, sent to this gateway. */
async function curl(gateway, command) {
  const [, url, body] = /^curl http:\/\/127\.0\.0\.1:3001(\S+) -H 'Content-Type: application\/json' \\\n +-d '(.*)'$/s.exec(command);
  const answer = await fetch(gateway.adminUrl + url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  assert.equal(answer.status, 200);
  return answer.json();
}

/** A gateway with a recipe's settings. It ends before the backend that it asks, where there is one. */
async function startGateway(t, toml, backend) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-recipe-'));
  t.after(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'roomcast.toml');
  await writeFile(file, toml);
  const webhook = backend && { ROOMCAST_WEBHOOK__URL: backend.url, ROOMCAST_WEBHOOK__SECRET: WEBHOOK_SECRET };
  const gateway = await Gateway.start({ file, variables: { ROOMCAST_DRAIN__DELAY: '0s', ROOMCAST_DRAIN__SPREAD: '0s', ...webhook } });
  t.after(async () => {
    await gateway.stop();
    await backend?.stop();
  });
  return gateway;
}

/** Connects with a token that the README's secret signs. */
function asUser(t, gateway, kind, user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const message = `${part({ alg: 'HS256' })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 60 })}`;
  const token = `${message}.${createHmac('sha256', SECRET).update(message).digest('base64url')}`;
  return open(t, gateway.url, { ...kind, ...(isOld(kind.generation) ? { query: { token } } : { auth: { token } }) });
}

describe('recipes', () => {
  it('All devices of a user', async (t) => {
    const recipe = 'All devices of a user';
    const gateway = await startGateway(t, blocks(recipe, 'toml')[0]);
    const alice = await Promise.all(KINDS.map((kind) => asUser(t, gateway, kind, 'alice')));
    const bob = await asUser(t, gateway, NEW, 'bob');
    for (const client of [...alice, bob]) client.record('note');
    const command = blocks(recipe, 'sh')[0];
    assert.deepEqual(await curl(gateway, command), { ok: true });
    await curl(gateway, command.replace('"rooms": ["user:alice"]', '"user": "alice"'));
    await bob.done('publish', 'user:alice', 'note', 'from bob');
    for (const device of alice) {
      const heard = await device.heard('note', 3);
      assert.deepEqual(heard.map(([text]) => text), ['Your order is on its way', 'Your order is on its way', 'from bob']);
      assert.equal(heard[2][1].user, 'bob');
    }
    assert.deepEqual(bob.all('note'), []);
  });

  it('Your application decides who may join', async (t) => {
    const recipe = 'Your application decides who may join';
    const backend = await Backend.start();
    const gateway = await startGateway(t, blocks(recipe, 'toml')[0], backend);
    const yes = JSON.parse(blocks(recipe, 'json')[0]);
    const no = JSON.parse(/to refuse, `(\{.*?\})`\./s.exec(README)[1]);
    backend.answers.join = ({ socket: { headers } }) => (headers.cookie === 'user=alice' ? yes : no);
    for (const kind of KINDS) {
      const [alice, bob] = await Promise.all(['alice', 'bob'].map((user) => open(t, gateway.url, { ...kind, extraHeaders: { cookie: `user=${user}` } })));
      assert.deepEqual(await alice.ask('join', 'doc-7'), { ok: true });
      assert.deepEqual(await bob.ask('join', 'doc-7'), { ok: false, error: 'forbidden' });
      assert.equal((await alice.done('members', 'doc-7')).total, 1);
      assert.equal((await bob.ask('members', 'doc-7')).error, 'forbidden');
      const { id } = alice;
      alice.close();
      await backend.asked('disconnect', { socket: id });
    }
    assert.deepEqual(backend.of('event')[0].args, ['doc-7']);
  });

  it('Ask a client, and have its answer over HTTP', async (t) => {
    const recipe = 'Ask a client, and have its answer over HTTP';
    const gateway = await startGateway(t, '[[namespace]]\nname = "/"\nrooms = ["desk-7"]\n');
    const handler = new Function('socket', 'window', blocks(recipe, 'js')[0]);
    const asked = [];
    const window = { confirm: (question) => asked.push(question) > 0 };
    for (const kind of KINDS) handler((await open(t, gateway.url, kind)).socket, window);
    const command = blocks(recipe, 'sh')[0];
    assert.deepEqual(await curl(gateway, command), { ok: true, expected: 3, acks: [[true], [true], [true]], missing: 0 });
    assert.deepEqual(asked, KINDS.map(() => 'Delete the file?'));
    const silent = (await open(t, gateway.url, NEW)).record('confirm');
    const some = await curl(gateway, command.replace('"10s"', '"500ms"'));
    assert.deepEqual(some, { ok: true, expected: 4, acks: [[true], [true], [true]], missing: 1 });
    assert.equal(silent.all('confirm').length, 1);
  });

  describe('From `io.on("connection")` to webhooks', () => {
    const recipe = 'From `io.on("connection")` to webhooks';
    const userOf = (cookie) => /user=(\w+)/.exec(cookie ?? '')?.[1];
    const [before, after] = blocks(recipe, 'js');

    /** The server of before. */
    async function startServer(t) {
      const http = createServer();
      const io = require('server-4.8.4')(http, { allowEIO3: true });
      new Function('io', 'userOf', before)(io, userOf);
      http.listen(0, '127.0.0.1');
      await once(http, 'listening');
      t.after(() => io.close());
      return `http://127.0.0.1:${http.address().port}`;
    }

    /** The gateway and the application of after. */
    async function startBoth(t) {
      const backend = await Backend.start();
      const answer = new Function('userOf', `${after}\nreturn answer;`)(userOf);
      for (const name of ['connect', 'disconnect', 'chat message', 'move']) backend.answers[name] = answer;
      return (await startGateway(t, blocks(recipe, 'toml')[0], backend)).url;
    }

    for (const [name, startOne, kinds] of [['before', startServer, [OLD, NEW]], ['after', startBoth, KINDS]]) {
      for (const kind of kinds) {
        it(`${name}, ${kind.generation}`, async (t) => {
          const url = await startOne(t);
          const come = (user) => start(t, url, { ...kind, extraHeaders: { cookie: `user=${user}` } }).record('welcome', 'chat message', 'gone');
          const [alice, bob] = [come('alice'), come('bob')];
          for (const [client, user] of [[alice, 'alice'], [bob, 'bob']]) assert.deepEqual(await client.heard('welcome'), [[user]]);
          assert.deepEqual(await alice.ask('chat message', 'hi'), { ok: true });
          assert.deepEqual(await bob.heard('chat message'), [[{ user: 'alice', text: 'hi' }]]);
          alice.socket.emit('move', 'kitchen');
          await alice.ask('chat message', 'bye');
          await bob.heard('chat message', 2);
          await bob.ask('chat message', 'anybody?');
          bob.close();
          assert.deepEqual(await alice.heard('gone'), [['bob']]);
          assert.deepEqual(alice.everything.slice(1), [['gone', 'bob']]);
          const refused = await start(t, url, kind).refused();
          assert.equal(isOld(kind.generation) ? refused : refused.message, 'unauthorized');
        });
      }
    }
  });
});
