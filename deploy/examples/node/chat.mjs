/**
 * A chat behind Roomcast: login, rooms that not everybody may enter, history. Node.js alone, no package.
 *
 * The gateway holds the connections. It asks here, by POST /webhook, who is let in and what becomes of events, and is
 * asked by its HTTP API to say something to clients. What is kept in memory here belongs into your database.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const {
  PORT = '8000',
  GATEWAY = 'http://127.0.0.1:3000', // as browsers reach it
  GATEWAY_API = 'http://127.0.0.1:3001', // as we reach it
  // As in roomcast.toml.
  TOKEN_SECRET = 'change-me-tokens-0123456789-0123456789',
  WEBHOOK_SECRET = 'change-me-webhooks-0123456789-0123456789',
  API_KEY = 'change-me-api-0123456789-0123456789-0123',
} = process.env;

const PAGE = readFileSync(new URL('../chat.html', import.meta.url), 'utf8').replaceAll('GATEWAY', GATEWAY);
const TOLERANCE = 300; // seconds that a signature may be old
const HISTORY = 100; // messages that a room keeps

const ROOMS = new Map([['lobby', null], ['staff', new Set(['alice', 'bob'])]]); // who may enter; null = everybody
const BANNED = new Set(['mallory']);

const history = new Map([...ROOMS.keys()].map((room) => [room, new Map()])); // messages by id
const online = new Map(); // sockets by user

// Login: a token (JWT) says who somebody is.

function token(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 3600 };
  const message = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${message}.${createHmac('sha256', TOKEN_SECRET).update(message).digest('base64url')}`;
}

function login(body) {
  const { name } = JSON.parse(body); // and a password, in a real application
  if (!/^[\p{L}\p{N}_]{1,20}$/u.test(name)) throw new Error('a name has 1 to 20 letters and digits');
  return { token: token(name) };
}

// Webhooks: what the gateway asks.

/** Whether the gateway wrote this, and not long ago: `t=<seconds>,v1=<hex>`, one v1 for each of its secrets. */
function isGenuine(signature, body) {
  const fields = signature.split(',').map((field) => field.split('='));
  const written = fields.find(([name]) => name === 't')?.[1] ?? '';
  const expected = createHmac('sha256', WEBHOOK_SECRET).update(`${written}.`).update(body).digest();
  const isSigned = fields.some(([name, value = '']) => {
    const given = Buffer.from(value, 'hex');
    return name === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
  return isSigned && Math.abs(Date.now() / 1000 - Number(written)) <= TOLERANCE;
}

function webhook(body) {
  const hook = JSON.parse(body);
  const answer = hook.type === 'event' ? EVENTS[hook.event] : QUESTIONS[hook.type];
  return answer(hook);
}

const QUESTIONS = {
  /** May this socket come in? Its user is the token's. */
  connect({ socket: { user }, time }) {
    if (BANNED.has(user)) return { deny: { message: 'banned', data: { user } } };
    return { rooms: ['lobby'], data: { since: time } };
  },

  /** It is in. Users are announced once, on however many devices they are. */
  async connected({ id, socket: { id: socket, user } }) {
    const sockets = online.get(user) ?? new Set();
    online.set(user, sockets.add(socket));
    if (sockets.size === 1) await systemSays(`${user} is here`, id);
    return {};
  },

  async disconnect({ id, reason, socket: { id: socket, user } }) {
    online.get(user)?.delete(socket);
    if (!online.get(user)?.size) await systemSays(`${user} is gone (${reason})`, id);
    return {};
  },
};

const EVENTS = {
  /** We decide who may enter a room; the gateway does it, before the client has its answer. */
  join({ args, socket: { user } }) {
    const room = text(args[0]);
    const members = ROOMS.get(room);
    if (members === undefined || members?.has(user) === false) return refusal('forbidden', `${user} may not enter ${room}`);
    return { actions: [{ join: { join: [room] } }], ack: [{ ok: true, room }] };
  },

  /** Keeps a message and passes it on. A retry has the same id, so it changes nothing: INSERT … ON CONFLICT DO NOTHING. */
  say({ id, args, time, socket: { user, rooms } }) {
    const [room, words] = [text(args[0]), text(args[1])];
    if (!isIn(room, rooms)) return refusal('forbidden', `you are not in ${room}`);
    if (words.length === 0 || words.length > 1000) return refusal('bad_request', 'a text has 1 to 1,000 characters');
    const messages = history.get(room);
    const message = messages.get(id) ?? { id, room, user, text: words, time };
    messages.set(id, message);
    if (messages.size > HISTORY) messages.delete(messages.keys().next().value);
    const emit = { rooms: [room], event: 'message', args: [message] };
    return { actions: [{ emit }], ack: [{ ok: true, message }] };
  },

  history({ args, socket: { rooms } }) {
    const room = text(args[0]);
    if (!isIn(room, rooms)) return refusal('forbidden', `you are not in ${room}`);
    return { ack: [{ ok: true, messages: [...history.get(room).values()] }] };
  },
};

/** What clients send may be missing, or anything: a text, or else an empty one. */
const text = (value) => (typeof value === 'string' ? value : '');

const isIn = (room, rooms) => ROOMS.has(room) && rooms.includes(room);

const refusal = (error, message) => ({ ack: [{ ok: false, error, message }] });

// The API: what we ask of the gateway.

/** Tells the lobby. The gateway does what has the same id once, so a webhook that is retried is not heard twice. */
const systemSays = (words, id) =>
  api('POST', '/v1/emit', { rooms: ['lobby'], event: 'message', args: [{ id, room: 'lobby', user: null, text: words }], id });

async function api(method, path, body) {
  const answer = await fetch(GATEWAY_API + path, {
    method,
    headers: { 'Authorization': `Bearer ${API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(2000),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const json = (status, value) => [status, 'application/json', JSON.stringify(value)];

async function answer(request) {
  const body = await read(request);
  switch (`${request.method} ${request.url}`) {
    case 'GET /':
      return [200, 'text/html; charset=utf-8', PAGE];
    case 'POST /login':
      try {
        return json(200, login(body));
      } catch (error) {
        return json(400, { error: error.message });
      }
    case 'POST /webhook':
      // An error is status 500: the gateway has no answer then, and retries where nobody waits.
      if (isGenuine(request.headers['roomcast-signature'] ?? '', body)) return json(200, await webhook(body));
      break;
  }
  return json(404, {});
}

const server = createServer(async (request, response) => {
  const [status, type, body] = await answer(request).catch((error) => {
    console.error(error);
    return json(500, {});
  });
  response.writeHead(status, { 'Content-Type': type }).end(body);
});
// Longer than the gateway keeps a connection that is idle: it never writes to one that we close.
server.keepAliveTimeout = 120_000;
server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
