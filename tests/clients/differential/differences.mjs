/**
 * Where the gateway differs from Node.js servers on purpose: the whole list. Everything else that differs is a defect.
 *
 * `packet` and `body` say what a Node server has to be sent to do what the gateway does with an input; `outcome` says what
 * the gateway makes of a case which a Node server answers in this way; `isApart` leaves a case out. An entry that no case
 * needs any more fails the test.
 */

import { cut, join } from './payloads.mjs';
import { PAYLOAD_BYTES_MAX } from './reference.mjs';

/** What a request is told before its version counts. */
const REFUSALS = ['Transport unknown', 'Session ID unknown', 'Bad handshake method', 'Bad request'];

/** A packet that every server ends the session over. */
const FATAL = '7';

/** The parts of a Socket.IO packet in its text form, as far as they are there. */
const GRAMMAR = /^4(?<type>[0-6])(?:(?<count>\d+)-)?(?<namespace>\/[^,]*,?)?(?<id>\d*)(?<json>.*)$/s;

/** The last value of a key of a request's query, as servers read it. */
const query = ({ path }, key) => new URLSearchParams(path.slice(path.indexOf('?') + 1)).getAll(key).at(-1);

/** Whether a request's version is one. */
const isKnown = (item) => ['2', '3', '4'].includes(query(item, 'EIO'));

const isUpgrade = ({ headers }) => headers.Upgrade !== undefined && headers.Connection !== undefined;

/** A refusal in the form that the request gets. */
const refusal = (item, code, message) => (isUpgrade(item) ? { status: 400, text: message } : { status: 400, code, message });

const isUtf8 = (bytes) => Buffer.from(bytes.toString()).equals(bytes);

const isTooLong = (bytes) => bytes.length > PAYLOAD_BYTES_MAX;

/** How deep arrays and objects are nested in each other. */
function depth(json) {
  let [deepest, open, inString] = [0, 0, false];
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at];
    if (inString && character === '\\') at += 1;
    else if (character === '"') inString = !inString;
    else if (!inString && (character === '[' || character === '{')) deepest = Math.max(deepest, (open += 1));
    else if (!inString && (character === ']' || character === '}')) open -= 1;
  }
  return deepest;
}

export const DIFFERENCES = [
  {
    name: 'a body that is not UTF-8',
    why: 'Node replaces what it cannot read',
    body(post, { eio }) {
      const isText = eio === '4' || post.headers?.['Content-Type'] !== 'application/octet-stream';
      return isText && !isUtf8(post.body) ? { ...post, body: join([FATAL], eio) } : post;
    },
  },
  {
    name: 'a POST that cannot be read',
    why: 'Node answers "ok", and also to what is sent while it closes the session; the gateway says that it is wrong',
    outcome(item, theirs, ours) {
      if (item.kind !== 'polling' || theirs.ended !== 'closed' || ours.ended !== 'closed') return theirs;
      const isSame = ours.answers.every(
        (answer, index) => answer.status === 200 || (answer.status === 400 && [undefined, 200, 400, 413].includes(theirs.answers[index]?.status)),
      );
      return isSame ? { ...theirs, answers: ours.answers } : theirs;
    },
  },
  {
    name: 'a WebSocket handshake without its headers',
    why: 'Node says which one is missing, in status 400 or 405',
    outcome(item, theirs) {
      if (item.kind !== 'request' || !/Sec-WebSocket-|HTTP method|Upgrade header/.test(theirs.text)) return theirs;
      if (!isKnown(item) && query(item, 'transport') === 'websocket') return theirs; // the version is looked at first
      return { ...refusal(item, 3, 'Bad request'), delivered: [] };
    },
  },
  {
    name: 'a WebSocket for polling',
    why: 'Node opens it and closes it again; the gateway refuses it',
    outcome(item, theirs) {
      if (item.kind !== 'request' || !isUpgrade(item) || query(item, 'transport') !== 'polling') return theirs;
      return theirs.status === 101 ? { ...refusal(item, 3, 'Bad request'), delivered: [] } : theirs;
    },
  },
  {
    name: 'EIO that is missing or unknown',
    why: 'Node takes it for version 3',
    outcome(item, theirs) {
      if (item.kind !== 'request' || isKnown(item)) return theirs;
      if (item.method === 'HEAD') return { ...theirs, status: 400 };
      if (REFUSALS.includes(theirs.message ?? theirs.text)) return theirs;
      return query(item, 'sid')
        ? { ...refusal(item, 3, 'Bad request'), delivered: [] }
        : { ...refusal(item, 5, 'Unsupported protocol version'), delivered: [] };
    },
  },
  {
    name: 'the refusal of a namespace in v3',
    why: 'Node 4 sends an object; Node 1 and 2 sent a text, which is what their clients show',
    outcome(item, theirs) {
      if (item.eio === '4' || !theirs.packets) return theirs;
      return { ...theirs, packets: theirs.packets.map((packet) => packet.replace(/"data":\{"message":("[^"]*")\}\}$/, '"data":$1}')).sort() };
    },
  },
  {
    name: 'the answer to a v3 ping that carries data',
    why: 'Node leaves the data out, which the protocol asks for',
    outcome(item, theirs, ours) {
      if (item.eio === '4' || !theirs.packets || !ours.packets) return theirs;
      const isPong = (packet) => packet.startsWith('{"kind":"pong"');
      const [pongs, others] = [ours.packets.filter(isPong), theirs.packets.filter((packet) => !isPong(packet))];
      return pongs.length + others.length === theirs.packets.length ? { ...theirs, packets: [...others, ...pongs].sort() } : theirs;
    },
  },
  {
    name: 'text that clients 1.x encode twice',
    why: 'Node 2 and later take it as it is',
    packet(packet, { eio, transport, isBinary }) {
      const isOld = transport === 'websocket' ? eio === '2' : eio !== '4' && !isBinary;
      if (!isOld || typeof packet !== 'string' || !/^[\u0000-\u00ff]*[\u0080-\u00ff][\u0000-\u00ff]*$/.test(packet)) return undefined;
      const bytes = Buffer.from(packet, 'latin1');
      return isUtf8(bytes) ? bytes.toString() : undefined;
    },
  },
  {
    name: 'numbers of events beyond those that JavaScript counts exactly',
    why: 'Node answers another number',
    packet(packet) {
      const { id } = GRAMMAR.exec(packet)?.groups ?? {};
      return id && (id.length > 16 || BigInt(id) > 2n ** 53n) ? FATAL : undefined;
    },
  },
  {
    name: 'numbers of attachments that are not decimal',
    why: 'Node reads numbers as JavaScript does',
    packet: (packet) => (/^4[56](?!\d+-)/.test(packet) ? FATAL : undefined),
  },
  {
    name: 'names of namespaces over 128 bytes',
    why: 'Node refuses them as it does others, and lives on',
    packet(packet, { eio }) {
      const name = GRAMMAR.exec(packet)?.groups.namespace?.replace(eio === '4' ? /,$/ : /(\?.*)?,?$/s, '');
      return name && Buffer.byteLength(name) > 128 ? FATAL : undefined;
    },
  },
  {
    name: 'names of v3 namespaces that are no paths of URLs',
    why: 'Node 2 and 4 escape, trim or cut them, each in its way',
    isApart: (packet, { eio }) => eio !== '4' && /^(\/\/|.*[^\w/?=&%.~,-])/s.test(GRAMMAR.exec(packet)?.groups.namespace ?? ''),
  },
  {
    name: 'base64 that is none',
    why: 'Node skips what it cannot read',
    packet(packet, { eio }) {
      if (typeof packet !== 'string' || !packet.startsWith('b')) return undefined;
      const [, digits, padding] = /^([\w+/-]*)(=*)$/.exec(packet.slice(eio === '4' ? 1 : 2)) ?? [];
      const rest = (digits?.length ?? 1) % 4;
      return rest === 1 || padding.length > (4 - rest) % 4 ? FATAL : undefined;
    },
  },
  {
    name: 'a close packet on a WebSocket',
    why: 'Node ignores it',
    packet: (packet, { transport }) => (transport === 'websocket' && /^1/.test(packet) ? FATAL : undefined),
  },
  {
    name: 'an event or acknowledgement without its array',
    why: 'Node delivers an event that has no name',
    packet(packet) {
      const { type, json } = GRAMMAR.exec(packet)?.groups ?? { type: 'x' };
      return '2356'.includes(type) && json === '' ? FATAL : undefined;
    },
  },
  {
    name: 'white space before the JSON or for a type',
    why: 'Node reads it as the number 0',
    packet(packet) {
      const { json } = GRAMMAR.exec(packet)?.groups ?? {};
      return /^\s/.test(json) || /^4\s/.test(packet) ? FATAL : undefined;
    },
  },
  {
    name: 'JSON that is nested deeper than 64 levels',
    why: 'Node has no limit',
    packet(packet) {
      const { json } = GRAMMAR.exec(packet)?.groups ?? {};
      return json !== undefined && depth(json) > 64 ? FATAL : undefined;
    },
  },
  {
    name: 'acknowledgements of clients 1.0.0 to 1.0.2',
    why: 'Node takes the dash for bad JSON',
    packet: (packet, { eio }) => (eio !== '4' ? /^43\d+-(.*)$/s.exec(packet)?.slice(1).map((rest) => `43${rest}`)[0] : undefined),
  },
  {
    name: 'v3 binary of another type than a message',
    why: 'Node takes it for such a packet, or ignores it',
    packet(packet, { eio }) {
      if (eio === '4') return undefined;
      return (typeof packet === 'string' ? /^b(?!4)/.test(packet) : packet[0] !== 4) ? FATAL : undefined;
    },
  },
  {
    name: 'events with names that are empty, numbers, over 256 bytes or the gateway\'s own',
    why: 'they are not relayed: the answer is bad_request',
    outcome(item, theirs) {
      const isRelayed = (event) => {
        const name = JSON.parse(event)[1][0];
        return typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= 256 && !['presence', 'expired'].includes(name);
      };
      return { ...theirs, delivered: theirs.delivered.filter(isRelayed) };
    },
  },
  {
    name: 'a v3 payload with lengths, types or ends that are none',
    why: 'Node reads numbers as JavaScript does, and takes what is there where a packet is too short',
    body(post, { eio }) {
      if (eio === '4') return post;
      const isBinary = post.headers?.['Content-Type'] === 'application/octet-stream';
      const { packets, isWhole } = cut(post.body, eio, isBinary);
      return isWhole ? post : { ...post, body: join([...packets, FATAL], eio, isBinary) };
    },
  },
  {
    name: 'what follows a CONNECT or DISCONNECT in one POST',
    why: 'Node handles it first',
    body(post, { eio }) {
      const isBinary = post.headers?.['Content-Type'] === 'application/octet-stream';
      const { packets, isWhole } = cut(post.body, eio, isBinary);
      if (!isWhole) packets.push(FATAL);
      const parts = [[]];
      for (const packet of packets) {
        parts.at(-1).push(packet);
        if (/^4[01]/.test(packet)) parts.push([]);
      }
      if (parts.at(-1).length === 0) parts.pop();
      const [body, ...more] = parts.map((part) => join(part, eio, isBinary));
      return more.length > 0 ? { ...post, body, more } : post;
    },
  },
];

/** The case as it has to be put to a Node server; `note` is told which differences that took. */
export function translated(item, note) {
  let { messages, posts } = item;
  for (const { name, packet, body } of DIFFERENCES) {
    const replace = (transport, isBinary) => (part) => {
      const replaced = packet(part, { eio: item.eio, transport, isBinary });
      if (replaced !== undefined) note(name);
      return replaced ?? part;
    };
    if (packet && messages) {
      messages = messages.map((message) => {
        if (isTooLong(message.data) || (!message.binary && !isUtf8(message.data))) return message;
        const replaced = replace('websocket')(message.binary ? message.data : message.data.toString());
        return { data: Buffer.from(replaced), binary: typeof replaced !== 'string' };
      });
    }
    if (packet && posts) {
      posts = posts.map((post) => {
        if (isTooLong(post.body)) return post;
        const isBinary = post.headers?.['Content-Type'] === 'application/octet-stream';
        const { packets, isWhole } = cut(post.body, item.eio, isBinary);
        const changed = packets.map(replace('polling', isBinary));
        const isSame = changed.every((part, index) => part === packets[index]);
        return isSame ? post : { ...post, body: join(isWhole ? changed : [...changed, FATAL], item.eio, isBinary) };
      });
    }
    if (body && posts) {
      posts = posts.map((post) => {
        const changed = isTooLong(post.body) ? post : body(post, item);
        if (changed !== post) note(name);
        return changed;
      });
    }
  }
  return { ...item, ...(messages && { messages }), ...(posts && { posts }) };
}

/** Whether the servers cannot be compared in a case; `note` is told why. */
export function isApart(item, note) {
  const texts = [
    ...(item.messages ?? []).map(({ data }) => data.toString()),
    ...(item.posts ?? []).flatMap(({ body, headers }) => cut(body, item.eio, headers?.['Content-Type'] === 'application/octet-stream').packets),
  ].filter((packet) => typeof packet === 'string');
  const entry = DIFFERENCES.find((difference) => texts.some((packet) => difference.isApart?.(packet, item)));
  if (entry) note(entry.name);
  return entry !== undefined;
}

/** What the gateway has to make of a case, by what a Node server made of it. */
export function expected(item, theirs, ours, note) {
  let outcome = theirs;
  for (const { name, outcome: change } of DIFFERENCES) {
    const changed = change?.(item, outcome, ours) ?? outcome;
    if (JSON.stringify(changed) !== JSON.stringify(outcome)) note(name);
    outcome = changed;
  }
  return outcome;
}
