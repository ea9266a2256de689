/**
 * Packets as socket.io-msgpack-parser writes them, and the same packets as the default parser writes them.
 *
 * Run it to write msgpack.json, which the unit tests of the gateway read: `node vectors/msgpack.mjs`. Each entry has
 * `hex`, the message in MessagePack; `text` and `attachments`, the same packet by the default parser; and `same`, whether
 * the gateway, too, would write `hex` for that text, byte for byte.
 */

import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const msgpack = require('socket.io-msgpack-parser');
const text = createRequire(require.resolve('client-4.8.4'))('socket.io-parser');

const EVENT = 2;
const ACK = 3;

const bytes = (count) => Buffer.from(Array.from({ length: count }, (_, index) => (index * 7) % 256));

/** Packets whose keys come in the gateway's order, and which hold nothing that only JavaScript has. */
const SAME = {
  'server CONNECT': { type: 0, data: { sid: 'abcdefghijklmnopqrst' }, nsp: '/' },
  'server CONNECT elsewhere': { type: 0, data: { sid: 'abcdefghijklmnopqrst' }, nsp: '/räume' },
  'CONNECT with auth': { type: 0, data: { token: 'é😀', list: [1, null] }, nsp: '/admin' },
  'CONNECT_ERROR': { type: 4, data: { message: 'Invalid namespace' }, nsp: '/nowhere' },
  'DISCONNECT': { type: 1, nsp: '/' },
  'event': { type: EVENT, data: ['hello'], nsp: '/' },
  'event with id 0': { type: EVENT, data: ['hello', 1], nsp: '/', id: 0 },
  'event with a large id': { type: EVENT, data: ['hello'], nsp: '/admin', id: 70_000 },
  'acknowledgement': { type: ACK, data: [], nsp: '/', id: 12 },
  'small values': { type: EVENT, data: ['e', null, true, false, 0, -1, -32, -33, 127, 128, 1.5, '', [], {}], nsp: '/' },
  'integers': {
    type: EVENT,
    data: ['e', 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53],
    nsp: '/',
  },
  'negative integers': {
    type: EVENT,
    data: ['e', -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53)],
    nsp: '/',
  },
  'fractions': { type: EVENT, data: ['e', 0.1, -2.5, 1e-7, 5e-324, 3.141592653589793], nsp: '/' },
  'texts of every length': { type: EVENT, data: ['e', ...[31, 32, 255, 256, 300].map((count) => 'x'.repeat(count))], nsp: '/' },
  'text with escapes': { type: EVENT, data: ['e', 'a"b\\c/d\n\r\t\b\f\u0000\u001f\u2028😀'], nsp: '/' },
  'arrays of every length': {
    type: EVENT,
    data: ['e', ...[15, 16, 17].map((count) => Array.from({ length: count }, (_, index) => index))],
    nsp: '/',
  },
  'objects of every length': {
    type: EVENT,
    data: ['e', ...[15, 16].map((count) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index])))],
    nsp: '/',
  },
  'nested': { type: EVENT, data: ['e', { a: [1, { b: [null, { c: 'd😀' }] }], 'ключ "k"': { '': [] } }], nsp: '/' },
  'binary': { type: EVENT, data: ['e', bytes(5)], nsp: '/' },
  'binary of every length': { type: EVENT, data: ['e', { a: [bytes(0), bytes(255)] }, bytes(256), 'x'], nsp: '/x', id: 3 },
  'acknowledgement with binary': { type: ACK, data: [bytes(3)], nsp: '/', id: 3 },
  'like a placeholder': { type: EVENT, data: ['e', { _placeholder: true, num: 0 }], nsp: '/' },
};

/** Packets as only clients write them. */
const OTHERS = {
  'client CONNECT without auth': { type: 0, data: undefined, nsp: '/' },
  'client event with options': { type: EVENT, data: ['e', 1], options: { compress: true }, id: 0, nsp: '/' },
  'client DISCONNECT': { type: 1, nsp: '/', options: { compress: true } },
  'keys in another order': { nsp: '/a', id: 5, data: ['e'], type: EVENT },
  'unknown keys': { type: EVENT, more: { a: [bytes(3), undefined] }, data: ['e'], nsp: '/' },
  'undefined': { type: EVENT, data: ['e', undefined, [undefined], { a: undefined, b: 1, c: undefined }], nsp: '/' },
  'dates': {
    type: EVENT,
    data: ['e', new Date(0), new Date(1_767_323_045_678), new Date(-1), new Date(-62_198_755_200_000)],
    nsp: '/',
  },
  'not a number': { type: EVENT, data: ['e', NaN, Infinity, -Infinity], nsp: '/' },
  'array buffers': {
    type: EVENT,
    data: ['e', ...[1, 2, 8, 256].map((count) => Uint8Array.from(bytes(count)).buffer)],
    nsp: '/',
  },
  'large number': { type: EVENT, data: ['e', 2 ** 63], nsp: '/' },
};

function vector(packet, same) {
  const [message] = new msgpack.Encoder().encode(packet);
  const { type, data, nsp, id } = packet;
  const [header, ...attachments] = new text.Encoder().encode({ type, data, nsp, id });
  return {
    hex: message.toString('hex'),
    text: header,
    attachments: attachments.map((attachment) => Buffer.from(attachment).toString('hex')),
    same,
  };
}

/** All vectors by name. */
export const vectors = () =>
  Object.fromEntries(
    [SAME, OTHERS].flatMap((packets) =>
      Object.entries(packets).map(([name, packet]) => [name, vector(packet, packets === SAME)]),
    ),
  );

/** Where they are kept. */
export const FILE = fileURLToPath(new URL('msgpack.json', import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(FILE, `${JSON.stringify(vectors(), null, 1)}\n`);
}
