/**
 * A Socket.IO server of one generation with its Redis adapter, as a process of its own.
 *
 * It gives clients the events that a gateway's rules give them, and does what it is told by lines of JSON on stdin:
 * `{id, action, parameters}`, answered by `{id, value}` or `{id, error}` on stdout. Must never outlive its parent.
 */

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

import { decode, encode } from './lines.mjs';

const require = createRequire(import.meta.url);
const { version, adapter, redisLibrary, redisPort, namespaces, key, requestsTimeout, publishOnSpecificResponseChannel } = JSON.parse(process.argv[2]);
const modern = /^4\./.test(version);

const tell = (message) => process.stdout.write(`${JSON.stringify(encode(message))}\n`);

/** The function that `io.adapter` wants, made as each adapter's own documentation says. */
async function makeAdapter() {
  if (!modern) return require(adapter)({ host: '127.0.0.1', port: redisPort, key, requestsTimeout });
  const { createAdapter } = require(adapter);
  const connections = redisLibrary === 'ioredis' ? [ioredis(), ioredis()] : [nodeRedis(), nodeRedis()];
  if (redisLibrary !== 'ioredis') await Promise.all(connections.map((connection) => connection.connect()));
  for (const connection of connections) connection.on('error', () => {});
  return createAdapter(...connections, { key, requestsTimeout, publishOnSpecificResponseChannel });
}

const nodeRedis = () => require('redis').createClient({ url: `redis://127.0.0.1:${redisPort}` });
const ioredis = () => new (require('ioredis').Redis)({ port: redisPort, host: '127.0.0.1' });

const http = createServer();
const io = require(`server-${version}`)(http, modern ? { allowEIO3: true } : {});
io.adapter(await makeAdapter());

/** The rooms of a socket without its own. */
function roomsOf(socket) {
  const rooms = modern ? [...socket.rooms] : Array.isArray(socket.rooms) ? socket.rooms : Object.keys(socket.rooms);
  return rooms.filter((room) => room !== socket.id);
}

/** Joins or leaves one room; the old generations say when it is done. */
async function move(socket, method, room) {
  if (modern) return socket[method](room);
  return new Promise((resolve) => socket[method](room, resolve));
}

const list = (rooms) => (Array.isArray(rooms) ? rooms : [rooms]);

/** What clients may do here, as with a gateway's built-in rules, and the rules that `gateway.mjs` configures. */
const EVENTS = {
  async join(socket, rooms) {
    for (const room of list(rooms)) await move(socket, 'join', room);
    return [{ ok: true, rooms: roomsOf(socket), socket: socket.id }];
  },
  async leave(socket, rooms) {
    for (const room of list(rooms)) await move(socket, 'leave', room);
    return [{ ok: true, rooms: roomsOf(socket) }];
  },
  publish(socket, rooms, event, ...args) {
    const mine = new Set(roomsOf(socket));
    if (!list(rooms).every((room) => mine.has(room))) return [{ ok: false, error: 'forbidden', message: 'not in the room' }];
    list(rooms).reduce((to, room) => to.to(room), socket).emit(event, ...args);
    return [{ ok: true }];
  },
  all(socket, ...args) {
    socket.broadcast.emit('all', ...args);
    return [{ ok: true }];
  },
  echo: (socket, ...args) => args,
};

for (const name of namespaces) {
  const namespace = io.of(name);
  namespace.on('connection', (socket) => {
    if (modern) socket.data.name = socket.handshake.query.name;
    for (const [event, handler] of Object.entries(EVENTS)) {
      socket.on(event, async (...args) => {
        const answer = typeof args.at(-1) === 'function' ? args.pop() : () => {};
        answer(...(await handler(socket, ...args)));
      });
    }
  });
  if (modern) {
    namespace.on('note', (...args) => tell({ note: args }));
    namespace.on('question', (number, answer) => answer({ from: version, number }));
    // An answer that never comes, as where a server has no such handler.
    namespace.on('unanswered', () => {});
  }
  if (!modern && 'customHook' in namespace.adapter) hook(namespace.adapter);
}

/** The answer to other servers' `customRequest`, whose shape changed with 4.0. */
function hook(legacyAdapter) {
  legacyAdapter.customHook = (data, answer) => {
    const value = { from: version, data };
    return answer ? answer(value) : value;
  };
}

/** Something to emit on: a namespace, narrowed down. */
function operator({ namespace, rooms = [], except = [], flags = {} }) {
  let target = io.of(namespace);
  for (const room of rooms) target = target.to(room);
  if (except.length > 0) target = target.except(except);
  for (const [flag, value] of Object.entries(flags)) target = typeof target[flag] === 'function' ? target[flag](value) : target[flag];
  return target;
}

/** A method of the old adapters, whose answer comes to a callback. */
const asked = (namespace, method, ...args) =>
  new Promise((resolve, reject) => {
    io.of(namespace).adapter[method](...args, (error, value) => (error ? reject(error) : resolve(value)));
  });

const describe = ({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake });

const ACTIONS = {
  emit: (to) => void operator(to).emit(...to.args),
  // Generation 4, as its adapter's documentation lists them.
  fetchSockets: async (to) => (await operator(to).fetchSockets()).map(describe),
  socketsJoin: (to) => operator(to).socketsJoin(to.names),
  socketsLeave: (to) => operator(to).socketsLeave(to.names),
  disconnectSockets: (to) => operator(to).disconnectSockets(to.close),
  allRooms: async ({ namespace }) => [...(await io.of(namespace).adapter.allRooms())],
  allSockets: async (to) => [...(await operator(to).allSockets())],
  serverSideEmit: ({ namespace, args }) => void io.of(namespace).serverSideEmit(...args),
  serverSideAsk: ({ namespace, args }) =>
    new Promise((resolve) => {
      io.of(namespace).serverSideEmit(...args, (error, answers) => resolve({ error: error?.message, answers }));
    }),
  emitWithAck: (to) =>
    new Promise((resolve) => {
      operator(to).timeout(to.milliseconds).emit(...to.args, (error, answers) => resolve({ error: error?.message, answers }));
    }),
  // Generations 1 and 2.
  clients: ({ namespace, rooms = [] }) => asked(namespace, 'clients', rooms),
  clientRooms: ({ namespace, socket }) => asked(namespace, 'clientRooms', socket),
  legacyAllRooms: ({ namespace }) => asked(namespace, 'allRooms'),
  remoteJoin: ({ namespace, socket, room }) => asked(namespace, 'remoteJoin', socket, room),
  /** Emits to the rooms in turn, each as soon as it is answered that the socket is in it. */
  async remoteJoinAndEmit({ namespace, socket, rooms, event }) {
    for (const room of rooms) {
      await asked(namespace, 'remoteJoin', socket, room);
      io.of(namespace).to(room).emit(event, room);
    }
  },
  remoteLeave: ({ namespace, socket, room }) => asked(namespace, 'remoteLeave', socket, room),
  remoteDisconnect: ({ namespace, socket, close }) => asked(namespace, 'remoteDisconnect', socket, close),
  customRequest: ({ namespace, data }) => asked(namespace, 'customRequest', data),
};

const commands = createInterface({ input: process.stdin });
commands.on('line', async (line) => {
  const { id, action, parameters } = decode(JSON.parse(line));
  try {
    tell({ id, value: await ACTIONS[action](parameters) });
  } catch (error) {
    tell({ id, error: `${error.message}` });
  }
});
// The parent is gone, or wants an end.
commands.on('close', () => process.exit(0));

http.listen(0, '127.0.0.1', () => tell({ port: http.address().port }));
