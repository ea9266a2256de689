/**
 * Runs inside a page, beside the bundle of one client generation: what a test asks of the page.
 *
 * Everything here takes and gives plain JSON, because that is what gets in and out of a page.
 */

import { VALUES, binaries } from './samples.mjs';
import { Client, plain } from './wrap.mjs';

/** How each kind of binary is made. */
const MAKE = {
  ArrayBuffer: (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
  Uint8Array: (bytes) => bytes,
  Blob: (bytes) => new Blob([bytes]),
};

let client;

window.page = {
  /** Makes the page's one client; it is not waited for. */
  start(url, options) {
    client = new Client(window.io(url, options));
  },

  async connected() {
    await client.connected();
    return { id: client.id, transport: client.transport };
  },

  connectedAgain: (id) => client.until('connected again', () => client.socket.connected && client.id !== id),
  upgraded: () => client.upgraded(),
  disconnected: () => client.disconnected(),

  async refused() {
    const error = await client.refused();
    return String(error?.message ?? error);
  },

  record: (...names) => void client.record(...names),
  heard: (name, count) => client.heard(name, count),
  all: (name) => client.all(name),
  ask: (...args) => client.ask(...args),
  askAll: (...args) => client.askAll(...args),
  done: (...args) => client.done(...args),

  /** Publishes every value of the samples, one event each. */
  async publishValues(room) {
    // All at once, so that a transport that gathers packets has something to gather.
    await Promise.all(Object.entries(VALUES).map(([name, value]) => client.done('publish', room, 'value', name, value)));
  },

  /** Publishes every binary sample, made of one kind of binary. */
  async publishBinaries(room, kind) {
    for (const [name, args] of Object.entries(binaries(MAKE[kind]))) {
      await client.done('publish', room, 'bytes', name, ...args);
    }
  },

  /** Sends every binary sample to the event that answers with its arguments; gives what came back. */
  async echoBinaries(event, kind) {
    const answers = [];
    for (const [name, args] of Object.entries(binaries(MAKE[kind]))) {
      answers.push(await client.askAll(event, name, ...args));
    }
    return plain(answers);
  },

  close: () => client.close(),
};
