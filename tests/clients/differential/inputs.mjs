/**
 * Makes the cases: sequences of raw inputs, about half of them well-formed, the others damaged in one place or several.
 *
 * Knows the protocols' grammar and nothing of what a server makes of it.
 */

import { PAYLOAD_BYTES_MAX } from './reference.mjs';

const NAMESPACES = ['/', '/other', '/echo', '/dynamic-1'];

const STRINGS = [
  '', 'a', 'hello', 'é€漢字', '😀', 'Ã©', '"\\/\b\f\n\r\t', '\u0000\u001e\u001f\u007f\u0080', '\u2028\u2029\ufeff\uffff',
  '\ud83d', '__proto__', 'constructor', 'toString', '_placeholder', '2:40', '42["x"]', 'a\\nb\\\\n', 'x'.repeat(300),
];

const NUMBERS = ['0', '-0', '1', '-1.5', '1e3', '1E-2', '1e400', '9007199254740993', '0.1', '123456789012345678901234567890'];

const EVENTS = [
  'news', 'message', 'a b', 'é😀', '', 'error', 'join', 'publish', 'members', 'connect', 'connect_error', 'disconnect',
  'disconnecting', 'newListener', 'removeListener', 'connection', 'ping', 'toString', '__proto__', 'hasOwnProperty',
  'presence', 'expired', 'n'.repeat(256), 'n'.repeat(257),
];

/** Pieces of JSON and of packets that readers get wrong. */
const PIECES = [
  '[', ']', '{', '}', '"', ',', ':', '\\', '-', '+', '.', '/', '?', '0', '1', '9', 'e', 'E', 'b', 't', ' ', '\t', '\n', '\r',
  '\u0000', '\u001e', '\u001f', '\u007f', '\u00a0', '\u2028', '\ufeff', 'é', '😀', 'true', 'null', 'NaN', 'undefined',
  '\\u', '\\ud800', '\\u0000', '\\x41', '01', '1.', '.5', '0x1', '""', '[]', '{}', '[[', '/*', "'", ',,', '//',
  '{"_placeholder":true,"num":0}', '{"_placeholder":true,"num":"0"}', '{"num":0,"_placeholder":true}',
];

const WHOLE = [
  '', '0', '1', '2', '3', '4', '5', '6', '7', '-', '2[', '2[]', '2{}', '2null', '2""', '2[null]', '2[{}]', '2[[]]', '2[true]',
  '2[1,2]', '2[-1]', '2[1.5e3]', '2["x"', '2["x"]]', '2["x"] ', '2 ["x"]', '2\n["x"]', '2["x"],', '2["x",]', '2["x";1]',
  "2['x']", '2["\u0001"]', '2["x","\\u12"]', '2["x","\\ud800"]', '2["x",01]', '2["x",1.]', '2["x",+1]', '2[{"toString":"x"}]',
  '2abc["x"]', '21["x"]', '20["x"]', '2007["x"]', '29007199254740991["x"]', '29007199254740993["x"]',
  '299999999999999999999["x"]', '2-1["x"]', '21.5["x"]', '21e1["x"]', '21 ["x"]',
  '2/,["x"]', '2//,["x"]', '2/other["x"]', '2/other', '2/other,', '2/other,["x"]', '2/nope,["x"]', '2/other?a=1,["x"]',
  '2,["x"]', '2/other,,["x"]', '0', '0{}', '0[]', '0null', '0""', '01', '0{"a":1}', '0{"a":1', '0/', '0/,', '0/,{}', '0//',
  '0/nope', '0/nope,', '0/nope?x=1,', '0/nope,{}', '0/other', '0/other,', '0/other,{}', '0/other,[]', '0/other,{"token":"t"}',
  '0/other?a=1&b=%20', '0/other?a=%zz,', '0/other?__proto__=1', '0/other?', '0/dynamic-', '0/dynamic-é', '0/dynamic-\u0000',
  '0/Other', '0/other/', '0/other ', '0 /other', '01/other,', '0/echo,7', '0/echo,7{}', '1', '1/', '1/,', '1/other', '1/other,', '1/nope', '1{}',
  '1"x"', '1[]', '11', '1/other,1', '3', '30', '30[]', '30["x"]', '3[]', '3["x"]', '3{}', '30{}', '30-["x"]', '30-7["x"]',
  '3999999["x"]', '3/nope,1[]', '4', '4"x"', '4{"message":"x"}', '4/other,{"message":"x"}', '5', '5-', '5-["x"]', '50-["x"]',
  '51-["x"]', '51-', '51["x"]', '511-["x"]', '510-["x"]', '501-["x"]', '5-1-["x"]', '51.5-["x"]', '51e0-["x"]', '5 1-["x"]', '5+1-["x"]',
  '5999999999999999999999-["x"]', '51-/other,["x",{"_placeholder":true,"num":0}]', '51-/nope,["x",{"_placeholder":true,"num":0}]',
  '51-[{"_placeholder":true,"num":0}]', '6', '61-["x"]', '60-1["x"]', '61-1[{"_placeholder":true,"num":0}]', '7', '8', '9', 'a', '42["x"]',
  `2["x",${'['.repeat(60)}${']'.repeat(60)}]`, `2["x",${'['.repeat(70)}${']'.repeat(70)}]`, `2["x",${'{"a":'.repeat(70)}1${'}'.repeat(70)}]`,
  `2["x",${'['.repeat(3000)}${']'.repeat(3000)}]`, `2["x",${'['.repeat(3000)}`,
  `2["x","${'y'.repeat(PAYLOAD_BYTES_MAX - 1000)}"]`, `2["x","${'y'.repeat(PAYLOAD_BYTES_MAX)}"]`,
  `0/${'n'.repeat(127)},`, `0/${'n'.repeat(200)},`, '2["x",{"__proto__":{"a":1}}]', '2["x",{"a":1,"a":2}]', '2["x",{"toJSON":1}]',
];

/** Engine.IO packets other than messages, right and wrong. */
const ENGINE = ['', '0', '0{}', '1', '2', '2probe', '2hello', '3', '3probe', '5', '6', '7', '9', 'a', 'b', 'bAQID', 'b4AQID', 'b4', 'b!', 'é', ' 4'];

function json(random, depth, binaries) {
  const kind = random.below(depth > 0 ? 11 : 7);
  if (kind < 3) return JSON.stringify(random.pick(STRINGS));
  if (kind === 3) return random.pick(NUMBERS);
  if (kind === 4) return random.pick(['true', 'false', 'null']);
  if (kind === 5) return `"${random.pick(['\\u00e9', '\\ud83d\\ude00', '\\/', '\\ud800', '\\u0000'])}"`;
  if (kind === 6 && binaries) return `{"_placeholder":true,"num":${binaries.next++}}`;
  const count = random.below(4);
  if (kind < 9) return `[${random.times(count, () => json(random, depth - 1, binaries)).join(',')}]`;
  return `{${random.times(count, () => `${JSON.stringify(random.pick(STRINGS))}:${json(random, depth - 1, binaries)}`).join(',')}}`;
}

/** A Socket.IO packet as text, and how many attachments follow it. */
function packet(random, namespaces) {
  if (random.chance(30)) return { text: random.pick(WHOLE), attachments: random.chance(15) ? 1 + random.below(2) : 0 };
  const type = random.pick(['2', '2', '2', '2', '5', '5', '3', '6', '0', '1']);
  const isBinary = type === '5' || type === '6';
  const binaries = isBinary ? { next: 0 } : undefined;
  const namespace = random.chance(85) ? random.pick(namespaces) : random.pick(NAMESPACES);
  const address = namespace === '/' ? '' : `${namespace},`;
  let data = '';
  if ('2356'.includes(type)) {
    const items = random.times(random.below(4), () => json(random, 3, binaries));
    if (isBinary && binaries.next === 0) items.push(`{"_placeholder":true,"num":${binaries.next++}}`);
    const name = JSON.stringify(random.chance(70) ? random.pick(EVENTS.slice(0, 5)) : random.pick(EVENTS));
    if (type === '2' || type === '5') items.unshift(name);
    data = `[${items.join(',')}]`;
  } else if (random.chance(20)) {
    data = '{"token":"t"}';
  }
  const id = '36'.includes(type) || ('25'.includes(type) && random.chance(60)) ? String(random.below(30)) : '';
  const count = isBinary ? `${binaries.next}-` : '';
  return { text: type + count + address + id + data, attachments: binaries?.next ?? 0 };
}

/** A text with one to three places damaged. */
function damaged(random, text) {
  const characters = [...text];
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    const at = random.below(characters.length + 1);
    const way = random.below(6);
    if (way === 0) characters.splice(at, 1 + random.below(3));
    if (way === 1) characters.splice(at, 0, random.pick(PIECES));
    if (way === 2) characters.splice(at, 1, random.pick(PIECES));
    if (way === 3) characters.splice(at);
    if (way === 4) characters.splice(at, 0, ...characters.slice(at, at + 1 + random.below(4)));
    if (way === 5 && at < characters.length) {
      const code = characters[at].codePointAt(0) ^ (1 << random.below(7));
      characters[at] = String.fromCodePoint(code);
    }
  }
  return characters.join('');
}

/** Bytes with a few of them damaged. */
function damagedBytes(random, bytes) {
  let damaged = Buffer.from(bytes);
  for (let count = 1 + random.below(2); count > 0; count -= 1) {
    const at = random.below(damaged.length + 1);
    const [before, after] = [damaged.subarray(0, at), damaged.subarray(at)];
    const way = random.below(5);
    if (way === 0) damaged = Buffer.concat([before, after.subarray(1 + random.below(3))]);
    if (way === 1) damaged = Buffer.concat([before, Buffer.from([random.pick([0, 1, 4, 9, 10, 0x1e, 0x30, 0x3a, 0x7f, 0x80, 0xc3, 0xed, 0xff])]), after]);
    if (way === 2) damaged = before;
    if (way === 3) damaged = Buffer.concat([damaged, after]);
    if (way === 4 && at < damaged.length) {
      damaged = Buffer.from(damaged);
      damaged[at] ^= 1 << random.below(8);
    }
  }
  return damaged;
}

const bytes = (random) => Buffer.from(random.times(random.below(6), () => random.below(256)));

/** A few Engine.IO items: `{text}` or `{bytes}`. */
function items(random, namespaces, damage) {
  const list = [];
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    if (random.chance(12)) {
      list.push({ text: random.pick(ENGINE) });
      continue;
    }
    const { text, attachments } = packet(random, namespaces);
    list.push({ text: `4${random.chance(damage) ? damaged(random, text) : text}` });
    const sent = random.chance(10) ? random.below(3) : attachments;
    for (let index = 0; index < sent; index += 1) list.push({ bytes: bytes(random) });
  }
  return list;
}

function eio(random) {
  return random.pick(['4', '4', '4', '3', '3', '2']);
}

function entered(random, version) {
  if (version !== '4') return random.pick([['/'], ['/', '/other'], ['/', '/echo'], ['/', '/other', '/echo']]);
  return random.pick([['/'], ['/'], ['/echo'], ['/', '/echo'], ['/other', '/dynamic-1'], []]);
}

function websocket(random) {
  const version = eio(random);
  const namespaces = entered(random, version);
  const messages = items(random, namespaces, 35).map((item) => {
    if (item.text !== undefined) {
      const data = Buffer.from(item.text);
      if (random.chance(2)) return { data: damagedBytes(random, data), binary: false };
      return { data, binary: random.chance(1) };
    }
    if (random.chance(8)) return { data: Buffer.from(`b${version === '4' ? '' : '4'}${item.bytes.toString('base64')}`), binary: false };
    const type = random.chance(95) ? 4 : random.below(8);
    return { data: version === '4' ? item.bytes : Buffer.concat([Buffer.from([type]), item.bytes]), binary: true };
  });
  return { kind: 'websocket', eio: version, query: random.pick(['', '', '', '&b64=1', '&t=abc']), namespaces, messages };
}

/** A POST's body of a few items, in the form of the version. */
function body(random, version, list) {
  const base64 = (data) => {
    const text = data.toString(random.chance(90) ? 'base64' : 'base64url');
    return `b${version === '4' ? '' : '4'}${text}`;
  };
  const text = (item) => item.text ?? base64(item.bytes);
  if (version === '4') return { body: Buffer.from(list.map(text).join('\x1e')) };
  if (random.chance(60)) {
    const length = (item) => (random.chance(4) ? random.pick(['', '-1', '1e1', ' 3', '0', '00', '99999999999', '0x3', '3.0']) : item.length);
    return { body: Buffer.from(list.map(text).map((item) => `${length(item)}:${item}`).join('')) };
  }
  const packets = list.map((item) => {
    const data = item.text === undefined ? Buffer.concat([Buffer.from([4]), item.bytes]) : Buffer.from(item.text);
    const digits = [...String(data.length)].map(Number);
    return Buffer.concat([Buffer.from([item.text === undefined ? 1 : 0, ...digits, 0xff]), data]);
  });
  return { body: Buffer.concat(packets), headers: { 'Content-Type': 'application/octet-stream' } };
}

function polling(random) {
  const version = eio(random);
  const namespaces = entered(random, version);
  const isForm = random.chance(12);
  const posts = random.times(1 + random.below(2), () => {
    const post = body(random, version, items(random, namespaces, 20));
    if (random.chance(25)) post.body = damagedBytes(random, post.body);
    if (random.chance(3)) post.headers = random.pick([{ 'Content-Type': 'application/octet-stream' }, { 'Content-Type': 'text/plain' }]);
    return isForm ? { body: Buffer.from(post.body.toString()) } : post;
  });
  const query = isForm ? `&j=${random.below(9)}` : random.pick(['', '', '&b64=1']);
  return { kind: 'polling', eio: version, query, namespaces, posts };
}

function probe(random) {
  const texts = random.chance(50) ? ['2probe', '5'] : random.times(random.below(4), () => random.pick([...ENGINE, '2probe', '5', '42["x"]', '40']));
  return { kind: 'probe', eio: random.pick(['4', '3']), messages: texts.map((text) => ({ data: Buffer.from(text), binary: random.chance(3) })) };
}

const VALUES = {
  EIO: ['4', '4', '4', '3', '3', '2', '', '5', '04', '4.0', ' 4', '%34', '__proto__', '4&EIO=3', '3&EIO=4'],
  transport: [
    'polling', 'polling', 'polling', 'polling', 'websocket', 'websocket', '', 'webtransport', 'Polling', '__proto__', 'constructor', 'toString',
    'polling,websocket', '%70olling', 'polling&transport=websocket', 'websocket&transport=polling', 'flashsocket',
  ],
  sid: ['{sid}', '{sid}', '{sid}', 'x', '', '__proto__', 'constructor', 'AAAAAAAAAAAAAAAAAAAA', '{sid}x', 'x&sid={sid}', '{sid}&sid=x', '{sid}%00'],
  j: ['0', '12', 'abc7', '', '-1', 'constructor'],
  b64: ['1', '', '0', 'true'],
  t: ['abc', '1400000000000-3', ''],
  __proto__x: ['1'],
};

function request(random) {
  const keys = ['EIO', 'transport', ...(random.chance(60) ? ['sid'] : []), ...['j', 'b64', 't', '__proto__x'].filter(() => random.chance(15))];
  const parts = keys.filter(() => !random.chance(4)).map((key) => {
    const name = key === '__proto__x' ? random.pick(['__proto__', 'constructor', 'foo', '%', '', 'eio', 'a[b]']) : key;
    return `${name}=${random.pick(VALUES[key])}`;
  });
  if (random.chance(10)) parts.reverse();
  if (random.chance(3)) parts.push(random.pick(['%zz', '&&', '=', '%ff%fe', '#', ';', 'é']));
  const query = encodeURI(parts.join(random.chance(3) ? ';' : '&')).replaceAll('%25', '%');
  const path = random.pick(['/socket.io/', '/socket.io/', '/socket.io/', '/socket.io/', '/socket.io/', '/socket.io/x', '/socket.io//']);
  const session = query.includes('{sid}') || query.includes('%7Bsid%7D') ? random.pick(['4', '4', '3']) : undefined;
  const method = random.chance(75) ? 'GET' : random.pick(['POST', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH']);
  const item = { kind: 'request', method, path: `${path}?${query.replaceAll('%7Bsid%7D', '{sid}')}`, headers: {}, session };
  if (method === 'POST' && random.chance(70)) item.body = random.pick(['6', '1:6', 'x']);
  // A Node server writes a body behind the head of a refused upgrade, which is no answer to HEAD.
  if (method !== 'HEAD' && random.chance(25)) Object.assign(item.headers, upgrade(random));
  return item;
}

function upgrade(random) {
  const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  if (random.chance(10)) delete headers[random.pick(Object.keys(headers))];
  if (random.chance(8)) headers['Sec-WebSocket-Key'] = random.pick(['x', '', 'dGhlIHNhbXBsZSBub25jZQ']);
  if (random.chance(8)) headers['Sec-WebSocket-Version'] = random.pick(['8', '12', '14', 'x']);
  return headers;
}

/** The case of an index. */
export function make(random) {
  const kind = random.below(100);
  if (kind < 20) return request(random);
  if (kind < 65) return websocket(random);
  if (kind < 95) return polling(random);
  return probe(random);
}

/** Smaller cases of the same kind, the greatest steps first. */
export function* smaller(item) {
  const list = item.messages ? 'messages' : item.posts ? 'posts' : undefined;
  if (!list) return;
  for (const index of item[list].keys()) yield { ...item, [list]: item[list].toSpliced?.(index, 1) ?? item[list].filter((_, at) => at !== index) };
  const key = list === 'messages' ? 'data' : 'body';
  for (const [index, part] of item[list].entries()) {
    const data = part[key];
    for (let size = data.length >> 1; size >= 1; size >>= 1) {
      for (let at = 0; at + size <= data.length; at += size) {
        const shorter = Buffer.concat([data.subarray(0, at), data.subarray(at + size)]);
        yield { ...item, [list]: item[list].map((other, place) => (place === index ? { ...other, [key]: shorter } : other)) };
      }
    }
  }
}
