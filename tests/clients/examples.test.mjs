/**
 * The sample backends of `deploy/examples/`, started with the file that is beside them, and used by stock clients and in a
 * browser.
 */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser } from './browser.mjs';
import { isOld, open, start } from './clients.mjs';
import { Gateway, freePort } from './gateway.mjs';
import { Program } from './program.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const folder = path.join(here, '../../deploy/examples');

/** The sample backends. */
const BACKENDS = {
  Python: ['python3', path.join(folder, 'python/chat.py')],
  Node: [process.execPath, path.join(folder, 'node/chat.mjs')],
};

/** As everybody can read in the samples. */
const WEBHOOK_SECRET = 'change-me-webhooks-0123456789-0123456789';

const KINDS = [
  { generation: '1.7.4', transport: 'polling only' },
  { generation: '2.5.0', transport: 'WebSocket only' },
  { generation: '4.8.4', transport: 'polling, then WebSocket' },
];

/** A sample and a gateway before it. */
async function startChat(words) {
  const ports = [await freePort(), await freePort()];
  const [GATEWAY, GATEWAY_API] = ports.map((port) => `http://127.0.0.1:${port}`);
  const backend = await Program.start(words, { PORT: '0', GATEWAY, GATEWAY_API });
  const variables = {
    ROOMCAST_WEBHOOK__URL: `${backend.url}/webhook`,
    ROOMCAST_SERVER__CLIENT_BUNDLE: path.join(here, 'node_modules/client-4.8.4/dist/socket.io.min.js'),
    ROOMCAST_DRAIN__DELAY: '0s',
    ROOMCAST_DRAIN__SPREAD: '0s',
  };
  try {
    return { backend, gateway: await Gateway.start({ file: path.join(folder, 'roomcast.toml'), ports, variables }) };
  } catch (error) {
    await backend.stop();
    throw error;
  }
}

/** A webhook as the gateway would send it, or somebody else. */
function post(backend, hook, { secret = WEBHOOK_SECRET, seconds = Math.floor(Date.now() / 1000), header } = {}) {
  const body = JSON.stringify(hook);
  const signature = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
  return fetch(`${backend.url}/webhook`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Roomcast-Signature': header ?? `t=${seconds},v1=${signature}` },
    body,
  });
}

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.stop());

for (const [language, words] of Object.entries(BACKENDS)) {
  describe(`the chat in ${language}`, () => {
    let chat;
    before(async () => {
      chat = await startChat(words);
    });
    after(async () => {
      await chat.gateway.stop();
      await chat.backend.stop();
      assert.equal(chat.backend.log, '', 'what the backend complained of');
    });

    async function token(name) {
      const answer = await fetch(`${chat.backend.url}/login`, { method: 'POST', body: JSON.stringify({ name }) });
      return (await answer.json()).token;
    }
    const brings = (kind, text) => (isOld(kind.generation) ? { query: { token: text } } : { auth: { token: text } });
    const user = async (t, kind, name) => {
      const client = await open(t, chat.gateway.url, { ...kind, ...brings(kind, await token(name)) });
      return client.record('message');
    };
    const texts = (client) => client.all('message').map(([message]) => message.text);

    for (const kind of KINDS) {
      it(`${kind.generation}: what is said is heard, kept, and heard by nobody else`, async (t) => {
        const room = 'staff';
        const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((name) => user(t, kind, name)));
        for (const client of [alice, bob]) assert.deepEqual(await client.ask('join', room), { ok: true, room });
        const refused = await carol.ask('join', room);
        assert.deepEqual(refused, { ok: false, error: 'forbidden', message: 'carol may not enter staff' });
        const { message } = await alice.done('say', room, 'hello é😀');
        assert.deepEqual([message.user, message.room, message.text], ['alice', room, 'hello é😀']);
        await bob.until('bob hears it', () => texts(bob).includes('hello é😀'));
        const { messages } = await bob.done('history', room);
        assert.deepEqual(messages.at(-1), message);
        for (const event of ['say', 'history']) assert.equal((await carol.ask(event, room, 'x')).error, 'forbidden');
        assert.equal((await alice.ask('say', room, { not: 'a text' })).error, 'bad_request');
        assert.equal((await alice.ask('say')).error, 'forbidden');
        // Nothing but the application's own events reaches it, and rooms are its alone.
        for (const event of ['other', 'publish']) assert.match((await carol.ask(event, 'lobby', 'x')).error, /no_rule|forbidden/);
        await alice.done('say', 'lobby', 'to all');
        await carol.until('carol hears it', () => texts(carol).includes('to all'));
        assert.equal(texts(carol).includes('hello é😀'), false);
      });

      it(`${kind.generation}: who comes and goes is told once, by the API`, async (t) => {
        const name = `dora${kind.generation.replaceAll('.', '')}`;
        const watcher = await user(t, kind, 'alice');
        const told = (text) => watcher.until(text, () => texts(watcher).includes(text));
        const phone = await user(t, kind, name);
        await told(`${name} is here`);
        const laptop = await user(t, kind, name);
        // Its `connected` came before, so the backend knows of both.
        await laptop.done('say', 'lobby', `of ${name}`);
        phone.close();
        laptop.close();
        await told(`${name} is gone (client_left)`);
        assert.deepEqual(texts(watcher).filter((text) => text.includes(name)), [`${name} is here`, `of ${name}`, `${name} is gone (client_left)`]);
      });

      it(`${kind.generation}: nobody comes in without a token, or against the backend's word`, async (t) => {
        const stranger = await start(t, chat.gateway.url, kind).refused();
        const banned = await start(t, chat.gateway.url, { ...kind, ...brings(kind, await token('mallory')) }).refused();
        assert.equal(isOld(kind.generation) ? stranger : stranger.message, 'unauthorized');
        assert.deepEqual([banned.message, banned.data], ['banned', { user: 'mallory' }]);
      });
    }

    it('names that are none get no token', async () => {
      for (const name of ['', 'two words', 'x'.repeat(21), '<b>', 7, null]) {
        const answer = await fetch(`${chat.backend.url}/login`, { method: 'POST', body: JSON.stringify({ name }) });
        if (typeof name === 'string') assert.equal(answer.status, 400, name);
      }
      assert.equal(typeof (await token('Zoë_9')), 'string');
    });

    it('what the gateway did not sign, or not lately, is not believed', async () => {
      const hook = { id: 'x', type: 'connect', time: 'now', socket: { user: 'eve' } };
      const now = Math.floor(Date.now() / 1000);
      assert.equal((await post(chat.backend, hook)).status, 200);
      assert.equal((await post(chat.backend, hook, { seconds: now - 290 })).status, 200);
      const bad = [{ secret: 'another' }, { seconds: now - 310 }, { seconds: now + 310 }];
      for (const header of ['', 't=1', 'v1=00', `t=${now},v1=`, `t=${now},v1=é`, `t=,v1=${'0'.repeat(64)}`, ',,=,=']) bad.push({ header: encodeURI(header) });
      for (const how of bad) assert.equal((await post(chat.backend, hook, how)).status, 404, JSON.stringify(how));
      // While a secret is replaced there is one signature for each.
      const body = JSON.stringify(hook);
      const good = createHmac('sha256', WEBHOOK_SECRET).update(`${now}.${body}`).digest('hex');
      assert.equal((await post(chat.backend, hook, { header: `t=${now},v1=${'0'.repeat(64)},v1=${good}` })).status, 200);
    });

    it('the same webhook twice is one message', async (t) => {
      const alice = await user(t, KINDS[2], 'alice');
      const socket = { id: alice.id, user: 'alice', rooms: ['lobby'], data: {} };
      const hook = { id: 'the same', type: 'event', time: '2026-01-01T00:00:00.000Z', namespace: '/', socket, event: 'say', args: ['lobby', 'once'] };
      const answers = [];
      for (let turn = 0; turn < 2; turn += 1) answers.push(await (await post(chat.backend, hook)).json());
      assert.deepEqual(answers[0], answers[1]);
      const { messages } = await alice.done('history', 'lobby');
      assert.equal(messages.filter(({ text }) => text === 'once').length, 1);
    });

    it('its page', async (t) => {
      const visitor = await browser.chromium.newContext();
      t.after(() => visitor.close());
      const tab = async (name) => {
        const page = await visitor.newPage();
        await page.goto(chat.backend.url);
        await page.fill('#name', name);
        await page.press('#name', 'Enter');
        return page;
      };
      // A tab in the background is slow to do anything.
      const says = async (page, text) => {
        await page.bringToFront();
        await page.fill('#text', text);
        await page.press('#text', 'Enter');
      };
      const hears = (page, text) => page.locator('#messages li').getByText(text, { exact: true }).waitFor();
      const enters = async (page, room) => {
        await page.bringToFront();
        await page.click(`text=${room}`);
      };
      const [banned, nobody, alice, carol] = [await tab('mallory'), await tab('not a name'), await tab('alice'), await tab('carol')];
      await alice.locator('h1').getByText('lobby', { exact: true }).waitFor();
      await carol.locator('h1').getByText('lobby', { exact: true }).waitFor();
      await says(alice, 'hi <b>there</b>');
      for (const page of [alice, carol]) await hears(page, 'alice: hi <b>there</b>');
      await enters(alice, 'staff');
      await alice.locator('h1').getByText('staff', { exact: true }).waitFor();
      await enters(carol, 'staff');
      await carol.locator('#error').getByText('carol may not enter staff').waitFor();
      const late = await tab('erin');
      await hears(late, 'alice: hi <b>there</b>');
      await hears(carol, 'erin is here');
      await banned.locator('#error').getByText('banned').waitFor();
      await nobody.locator('#error').getByText(/unauthorized|1 to 20 letters/).first().waitFor();
    });
  });
}
