/**
 * What the stock Redis adapters and emitters of every generation publish.
 *
 * Run it to write vectors.json, which the tests of the gateway's codec read: `npm ci && npm run vectors`. No Redis is
 * needed: the clients given to the adapters only note down what is published. Each entry has `channel`; `payload`, parts
 * that are hex, `LONG` or the length of a run of `bytes()`; and what the message says: `broadcast`, `request` or `response`.
 */

import crypto from 'node:crypto';
import { EventEmitter } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

// The same ids in every run.
let drawn = 0;
const draw = (count) => Buffer.from(Array.from({ length: count }, () => (drawn++ * 37) % 256));
crypto.randomBytes = crypto.pseudoRandomBytes = draw;
const { default: mutable } = await import('node:crypto');
mutable.randomBytes = mutable.pseudoRandomBytes = draw;

const EVENT = 2;
const BINARY_EVENT = 5;

/** Bytes that a length alone tells. */
const bytes = (count) => Buffer.from(Array.from({ length: count }, (_, index) => (index * 7) % 256));

/** Longer than 16 bits can say; `LONG` in the file. */
const LONG = 'y'.repeat(66_000);

const text = 'a"b\\c/d\n\r\t\b\f\u0000\u001f\u2028äß😀';

/** Events by what is in them. */
const EVENTS = {
  'plain': ['hello', 'w', 1],
  'no arguments': ['hello'],
  'unicode': ['e', text, { 'ключ "k"': '€' }],
  'texts of every length': ['e', ...[0, 31, 32, 255, 256].map((count) => 'x'.repeat(count))],
  'long text': ['e', LONG],
  'binary': ['e', ...[0, 1, 2, 8, 15, 16].map(bytes), { a: [bytes(3)] }, 'x'],
  'longer binary': ['e', bytes(255), bytes(256), 1],
  'fifteen bytes alone': ['e', bytes(15)],
  'binary of confusing lengths': ['e', bytes(0x0d05), bytes(0x1210), null, undefined],
  'undefined': ['e', undefined, [undefined, 1], { a: undefined, b: 1 }, undefined],
  'undefined before bytes': ['e', undefined, bytes(4), undefined],
  'dates': ['e', new Date(0), new Date(1_767_323_045_678), new Date(-1), { at: new Date(1_000_000_000_000) }],
  'numbers': ['e', 0, -1, -32, -33, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32, 2 ** 40, -(2 ** 31) - 1, -(2 ** 40)],
  'fractions': ['e', 0.1, -2.5, 1e-7, 3.141592653589793],
  'not numbers': ['e', NaN, Infinity, -Infinity],
  'nested': ['e', { a: [1, { b: [null, true, false, { c: 'd' }] }], e: {} }, []],
  'many': ['e', Array.from({ length: 17 }, (_, index) => index), Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, index]))],
  'a number as name': [7, 1],
};

const HUGE = { 'seventy thousand bytes': ['e', bytes(70_000), 'x'] };

/** For whom and how. */
const OPTIONS = {
  'one room': { rooms: ['r1'] },
  'a room with #': { rooms: ['a#b'] },
  'several rooms': { rooms: ['r1', 'r2', 'ü'] },
  'a number as room': { rooms: [7] },
  'except': { rooms: ['r1'], except: ['abc', '/x#def'] },
  'volatile': { flags: { volatile: true } },
  'flags': { flags: { compress: false, timeout: 500, broadcast: true } },
};

/** What JSON.stringify would make of it, with bytes put aside. msgpack-lite cannot say `undefined`. */
function expected(data, isLite = false) {
  const lengths = [];
  const strip = (value) => {
    if (Buffer.isBuffer(value) || ArrayBuffer.isView(value)) return { _placeholder: true, num: lengths.push(value.byteLength) - 1 };
    if (value instanceof ArrayBuffer) return { _placeholder: true, num: lengths.push(value.byteLength) - 1 };
    if (Array.isArray(value)) return value.map(strip);
    if (value && typeof value === 'object' && !(value instanceof Date)) {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, strip(inner)]));
    }
    return value === undefined && isLite ? null : value;
  };
  return { json: JSON.stringify(strip(data))?.replace(LONG, 'LONG'), attachments: lengths };
}

/** A message in pieces: long runs of `bytes()` as their length. */
function parts(message) {
  const whole = Buffer.from(message);
  for (const count of [70_000, 0x1210, 0x0d05]) {
    const at = whole.indexOf(bytes(count));
    if (at >= 0) return [...parts(whole.subarray(0, at)), count, ...parts(whole.subarray(at + count))];
  }
  const long = whole.indexOf(LONG);
  if (long >= 0) return [...parts(whole.subarray(0, long)), 'LONG', ...parts(whole.subarray(long + LONG.length))];
  return [whole.toString('hex')];
}

/** A Redis client that notes down what is published. */
class Redis extends EventEmitter {
  published = [];
  constructor() {
    super();
    this.setMaxListeners(0);
  }
  publish(channel, message) {
    this.published.push({ channel: String(channel), message });
  }
  hset() {}
  duplicate() {
    return this;
  }
  subscribe(_channels, done) {
    if (typeof done === 'function') done(null);
  }
  psubscribe(_pattern, done) {
    if (typeof done === 'function') done(null);
  }
  unsubscribe(_channels, done) {
    if (typeof done === 'function') done(null);
  }
  /** Two nodes are there. */
  send_command(_command, parameters, done) {
    const answer = [parameters[1], 2];
    if (done) done(null, answer);
    return Promise.resolve(answer);
  }
  take() {
    return this.published.splice(0);
  }
}

const handshake = {
  headers: { host: 'localhost', 'user-agent': text },
  time: 'Thu Jan 01 2026 00:00:00 GMT+0000 (Coordinated Universal Time)',
  address: '127.0.0.1',
  xdomain: false,
  secure: false,
  issued: 1_767_225_600_000,
  url: '/socket.io/?EIO=4&transport=websocket',
  query: { EIO: '4', transport: 'websocket' },
  auth: { token: 'x' },
};

/** A namespace with one socket, `sid1`, as far as adapters look. */
function namespace(name) {
  const socket = {
    id: 'sid1',
    handshake,
    rooms: new Set(['sid1', 'r1']),
    data: { user: 'ü', n: 1.5 },
    client: { conn: { protocol: 4 }, writeToEngine() {} },
    join: (_room, done) => done?.(),
    leave: (_room, done) => done?.(),
    disconnect() {},
    packet() {},
    notifyOutgoingListeners() {},
    acks: new Map(),
  };
  const own = new EventEmitter();
  return Object.assign(own, {
    name,
    sockets: new Map([['sid1', socket]]),
    connected: { sid1: socket },
    server: { encoder: { encode: (_packet, done) => (done ? done([]) : []) }, opts: {} },
    _ids: 0,
    _onServerSideEmit: (data) => data.at(-1)?.({ answer: [1, text] }),
  });
}

const FACTORIES = (await import('./versions.mjs')).default;

const vectors = {};
function note(name, { channel, message }, says) {
  if (vectors[name]) throw new Error(`twice: ${name}`);
  vectors[name] = { channel, payload: parts(message), ...says };
}

const list = (names) => names.map(String).sort();

function said(data, { nsp = '/', rooms = [], except = [], flags = {} }, isLite = false) {
  return {
    broadcast: { namespace: nsp, rooms: list(rooms), except: list(except), volatile: flags.volatile === true, ...expected(data, isLite) },
  };
}

const hasBytes = (value) =>
  Buffer.isBuffer(value) || (value && typeof value === 'object' && !(value instanceof Date) && Object.values(value).some(hasBytes));

for (const { version, isHuge, isLite, isModern, create } of FACTORIES.adapters(require)) {
  const events = isHuge ? { ...EVENTS, ...HUGE } : EVENTS;
  const redis = new Redis();
  const broadcast = (name, data, options) => {
    const { nsp = '/', rooms, except, flags = {} } = options;
    const adapter = create(redis, namespace(nsp));
    const packet = { type: !isModern && hasBytes(data) ? BINARY_EVENT : EVENT, data };
    const opts = isModern
      ? { rooms: new Set(rooms), except: new Set(except), flags: { ...flags } }
      : { except, rooms, flags };
    redis.take();
    adapter.broadcast(packet, opts);
    const [first] = redis.take();
    note(`${version} ${name}`, first, { ...said(data, options, isLite), uid: version === '0.1.4' ? null : true });
  };
  for (const [name, data] of Object.entries(events)) broadcast(name, data, {});
  for (const [name, options] of Object.entries(OPTIONS)) broadcast(name, ['hello', 1], options);
  broadcast('elsewhere', ['hello'], { nsp: '/räume', rooms: ['r1'] });
}

for (const { version, create, isOld, isLite, isModern } of FACTORIES.emitters(require)) {
  const redis = new Redis();
  const emit = (name, data, { nsp = '/', rooms = [], except = [], flags = {} }) => {
    let emitter = create(redis);
    if (nsp !== '/') emitter = emitter.of(nsp);
    for (const room of rooms) emitter = emitter.to(room);
    for (const room of except) emitter = emitter.except(room);
    if (flags.volatile) emitter = emitter.volatile;
    emitter.emit(...data);
    const [first] = redis.take();
    note(`emitter ${version} ${name}`, first, { ...said(data, { nsp, rooms, except, flags }, isLite), uid: isOld ? null : 'emitter' });
  };
  for (const [name, data] of Object.entries(EVENTS)) {
    if (typeof data[0] === 'string') emit(name, data, {});
  }
  emit('one room', ['hello', 1], { rooms: ['r1'] });
  emit('several rooms', ['hello', 1], { rooms: ['r1', 'r2'] });
  emit('volatile', ['hello', 1], { flags: { volatile: true } });
  if (!isOld) emit('elsewhere', ['hello'], { nsp: '/räume' });
  if (isModern) {
    emit('except', ['hello'], { rooms: ['r1'], except: ['abc'] });
    const order = (name, give, request) => {
      give(create(redis));
      const [first] = redis.take();
      note(`emitter ${version} ${name}`, first, { request: { uid: request.type === 6 ? 'emitter' : null, id: null, dialect: 'modern', ...request } });
    };
    const who = { rooms: ['r1'], except: [] };
    order('join', (emitter) => emitter.in('r1').socketsJoin('r7'), { type: 2, who, rooms: ['r7'] });
    order('leave', (emitter) => emitter.in('r1').socketsLeave(['r7', 'r8']), { type: 3, who, rooms: ['r7', 'r8'] });
    order('disconnect', (emitter) => emitter.in('r1').except('x').disconnectSockets(true), {
      type: 4,
      who: { rooms: ['r1'], except: ['x'] },
      close: true,
    });
    if (create(redis).serverSideEmit) {
      order('server side', (emitter) => emitter.serverSideEmit('sse', 'z', text), { type: 6, data: JSON.stringify(['sse', 'z', text]) });
    }
  }
}

/** Lets everything run that is ready. */
const settle = async () => {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** What a call makes an adapter ask. */
async function asks(version, dialect, create, table) {
  for (const [name, [call, request]] of Object.entries(table)) {
    const redis = new Redis();
    const adapter = create(redis, namespace('/'));
    adapter.rooms.clear?.();
    redis.take();
    await settle();
    Promise.resolve(call(adapter)).catch(() => {});
    await settle();
    const [first, ...more] = redis.take();
    if (!first || more.length > 0) throw new Error(`${version} ${name}: ${more.length} more messages, first ${first}`);
    const idKey = { modern: 'requestId', legacy: 'requestid', sync: 'transaction' }[dialect];
    const fields = typeof first.message === 'string' ? JSON.parse(first.message) : require('notepack.io').decode(first.message);
    note(`${version} asks ${name}`, first, {
      request: { uid: fields.uid ?? null, id: fields[idKey] ?? null, dialect, ...request },
    });
  }
}

/** What an adapter answers to a request. */
async function answers(version, dialect, create, method, table) {
  for (const [name, [request, ...responses]] of Object.entries(table)) {
    const redis = new Redis();
    const nsp = namespace('/');
    const adapter = create(redis, nsp);
    if (dialect === 'modern') adapter.addAll('sid1', new Set(['sid1', 'r1']));
    else for (const room of ['sid1', 'r1']) adapter.add('sid1', room);
    if (adapter.customHook) adapter.customHook = (data, done) => done?.({ custom: data }) ?? { custom: data };
    await settle();
    redis.take();
    const channel = FACTORIES.requestChannel(adapter, dialect);
    adapter[method](channel, Buffer.from(JSON.stringify(request)));
    await settle();
    const published = redis.take();
    if (published.length !== responses.length) throw new Error(`${version} ${name}: ${published.length} answers`);
    published.forEach((message, index) => {
      note(`${version} answers ${name}${index ? ' then' : ''}`, message, {
        response: { id: dialect === 'sync' ? 'T' : 'Q', dialect, ...responses[index] },
      });
    });
  }
}

const none = { rooms: [], except: [] };
const who = { rooms: ['r1', 'r2'], except: ['x'] };
const sets = { rooms: new Set(who.rooms), except: new Set(who.except), flags: {} };

for (const { version, isModern, create } of FACTORIES.adapters(require)) {
  const major = Number(version.split('.')[0]);
  if (version.startsWith('1.1')) {
    await asks(version, 'sync', create, { clients: [(adapter) => adapter.clients(['r1'], () => {}), { type: 0, rooms: ['r1'] }] });
    await answers(version, 'sync', create, 'onclients', { clients: [{ transaction: 'T', rooms: ['r1'] }, { sockets: ['sid1'] }] });
  }
  if (!isModern && major >= 2) {
    await asks(version, 'legacy', create, {
      clients: [(adapter) => adapter.clients(['r1', 'r2'], () => {}), { type: 0, rooms: ['r1', 'r2'] }],
      'all clients': [(adapter) => adapter.clients(() => {}), { type: 0, rooms: [] }],
      'rooms of one': [(adapter) => adapter.clientRooms('sid9', () => {}), { type: 'rooms of', socket: 'sid9' }],
    });
    await answers(version, 'legacy', create, 'onrequest', {
      clients: [{ requestid: 'Q', type: 0, rooms: ['r1'] }, { sockets: ['sid1'] }],
      'no clients': [{ requestid: 'Q', type: 0, rooms: ['nobody'] }, { sockets: [] }],
      'rooms of one': [{ requestid: 'Q', type: 1, sid: 'sid1' }, { rooms: ['sid1', 'r1'] }],
    });
  }
  if (!isModern && major >= 3) {
    const one = { rooms: ['sid9'], except: [] };
    await asks(version, 'legacy', create, {
      'all rooms': [(adapter) => adapter.allRooms(() => {}), { type: 1 }],
      join: [(adapter) => adapter.remoteJoin('sid9', 'r7', () => {}), { type: 2, who: one, rooms: ['r7'] }],
      leave: [(adapter) => adapter.remoteLeave('sid9', 'r7', () => {}), { type: 3, who: one, rooms: ['r7'] }],
      disconnect: [(adapter) => adapter.remoteDisconnect('sid9', true, () => {}), { type: 4, who: one, close: true }],
      custom: [(adapter) => adapter.customRequest({ a: [1, text] }, () => {}), { type: 'custom', data: JSON.stringify({ a: [1, text] }) }],
    });
    await answers(version, 'legacy', create, 'onrequest', {
      'all rooms': [{ requestid: 'Q', type: 2 }, { rooms: ['sid1', 'r1'] }],
      join: [{ requestid: 'Q', type: 3, sid: 'sid1', room: 'r2' }, {}],
      leave: [{ requestid: 'Q', type: 4, sid: 'sid1', room: 'r1' }, {}],
      disconnect: [{ requestid: 'Q', type: 6, sid: 'sid1', close: true }, {}],
      custom: [{ requestid: 'Q', type: 5, data: [1, text] }, { data: JSON.stringify({ custom: [1, text] }) }],
    });
  }
  if (isModern) {
    const one = { rooms: ['sid9'], except: [] };
    await asks(version, 'modern', create, {
      'all rooms': [(adapter) => adapter.allRooms(), { type: 1 }],
      fetch: [(adapter) => adapter.fetchSockets(sets), { type: 5, who }],
      'fetch everybody': [(adapter) => adapter.fetchSockets({ rooms: new Set(), except: new Set(), flags: {} }), { type: 5, who: none }],
      join: [(adapter) => adapter.addSockets(sets, ['r7', text]), { type: 2, who, rooms: ['r7', text] }],
      leave: [(adapter) => adapter.delSockets(sets, ['r7']), { type: 3, who, rooms: ['r7'] }],
      disconnect: [(adapter) => adapter.disconnectSockets(sets, false), { type: 4, who, close: false }],
      ...(major < 8 && {
        sockets: [(adapter) => adapter.sockets(new Set(['r1'])), { type: 0, rooms: ['r1'] }],
        'join one': [(adapter) => adapter.remoteJoin('sid9', 'r7'), { type: 2, who: one, rooms: ['r7'] }],
        'leave one': [(adapter) => adapter.remoteLeave('sid9', 'r7'), { type: 3, who: one, rooms: ['r7'] }],
        'disconnect one': [(adapter) => adapter.remoteDisconnect('sid9', true), { type: 4, who: one, close: true }],
      }),
      ...(major >= 7 && {
        'server side': [(adapter) => adapter.serverSideEmit(['sse', 1, text]), { type: 6, data: JSON.stringify(['sse', 1, text]) }],
        'server side with answer': [(adapter) => adapter.serverSideEmit(['sse', () => {}]), { type: 6, data: '["sse"]' }],
      }),
      ...(version !== '7.0.1' && major >= 7 && {
        broadcast: [
          (adapter) =>
            adapter.broadcastWithAck(
              { type: EVENT, data: ['e', { a: bytes(5) }, null, 0.5] },
              { rooms: new Set(['r1']), except: new Set(['x', 'y']), flags: { timeout: 50 } },
              () => {},
              () => {},
            ),
          { type: 7, timeout: 50, ...said(['e', { a: bytes(5) }, null, 0.5], { rooms: ['r1'], except: ['x', 'y'] }) },
        ],
      }),
    });
    const opts = { rooms: ['r1'], except: [] };
    const details = { id: 'sid1', handshake: JSON.stringify(handshake), rooms: ['sid1', 'r1'], data: JSON.stringify({ user: 'ü', n: 1.5 }) };
    await answers(version, 'modern', create, 'onrequest', {
      sockets: [{ uid: 'other1', requestId: 'Q', type: 0, rooms: ['r1'] }, { sockets: ['sid1'] }],
      'no sockets': [{ uid: 'other1', requestId: 'Q', type: 0, rooms: ['nobody'] }, { sockets: [] }],
      'all rooms': [{ uid: 'other1', requestId: 'Q', type: 1 }, { rooms: ['sid1', 'r1'] }],
      'join one': [{ uid: 'other1', requestId: 'Q', type: 2, sid: 'sid1', room: 'r9' }, {}],
      fetch: [{ uid: 'other1', requestId: 'Q', type: 5, opts }, { fetched: [details] }],
      ...(major >= 7 && {
        'server side': [
          { uid: 'other1', requestId: 'Q', type: 6, data: ['sse'] },
          { data: JSON.stringify({ answer: [1, text] }), isServerSide: true },
        ],
      }),
      ...(version !== '7.0.1' && major >= 7 && {
        'broadcast to nobody': [
          { uid: 'other1', requestId: 'Q', type: 7, packet: { type: EVENT, data: ['e'], nsp: '/' }, opts: { rooms: ['nobody'], except: [], flags: { timeout: 50 } } },
          { clientCount: 0 },
        ],
      }),
    });
  }
}

/** Answers of clients, which need no client: the parser of the adapter writes them. */
for (const version of ['7.2.0', '8.0.1', '8.3.0']) {
  const create = FACTORIES.adapters(require).find((adapter) => adapter.version === version).create;
  for (const [name, value] of Object.entries({ 'text': text, 'bytes': { b: [bytes(3)] }, 'nothing': undefined, 'null': null, 'number': 1.5 })) {
    const redis = new Redis();
    const nsp = namespace('/');
    const adapter = create(redis, nsp);
    adapter.addAll('sid1', new Set(['sid1', 'r1']));
    redis.take();
    const packet = { type: EVENT, data: ['e'], nsp: '/' };
    const request = { uid: 'other1', requestId: 'Q', type: 7, packet, opts: { rooms: [], except: [], flags: { timeout: 50 } } };
    adapter.onrequest('socket.io-request#/#', Buffer.from(JSON.stringify(request)));
    await settle();
    for (const answer of nsp.sockets.get('sid1').acks.values()) answer(value);
    const [count, answer] = redis.take();
    const response = { id: 'Q', dialect: 'modern' };
    note(`${version} counts clients for ${name}`, count, { response: { ...response, clientCount: 1 } });
    const { json = 'null', attachments } = expected(value);
    note(`${version} a client answers ${name}`, answer, { response: { ...response, ack: { json, attachments } } });
  }
}

await writeFile(fileURLToPath(new URL('vectors.json', import.meta.url)), `${JSON.stringify(vectors, null, 1)}\n`);
process.stdout.write(`${Object.keys(vectors).length} vectors\n`);
process.exit(0); // requests that nobody answers have timers
