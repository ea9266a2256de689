/**
 * The raw client: puts one generated case to a server, byte for byte, and says what came of it.
 *
 * Knows no difference between the servers. Whether a session lives is found out by asking it for one more namespace,
 * never by waiting; the deadline is for servers that do not answer at all.
 */

import { Agent, request } from 'node:http';

import WebSocket from 'ws';

import { Reader, payloadItems } from './packets.mjs';
import { HEARD } from './reference.mjs';

/** Milliseconds without an answer: an outcome of its own, which no server may have. */
const SILENCE = 5_000;

/** A page of the server's own host: scripts, which JSONP is, are for such alone. */
const ORIGIN = { Origin: 'http://127.0.0.1' };

const agent = new Agent({ keepAlive: true });

/** One HTTP request with path and body as they are. */
function http(port, method, path, { headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const options = { agent, host: '127.0.0.1', port, method, path, headers, timeout: SILENCE };
    const sent = request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', () => resolve({ status: 'broken' }));
      response.on('end', () => {
        resolve({ status: response.statusCode, type: response.headers['content-type'], body: Buffer.concat(chunks) });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('silence')));
    sent.on('error', (error) => resolve({ status: error.message === 'silence' ? 'silent' : 'broken' }));
    sent.on('upgrade', (_, socket) => {
      socket.destroy();
      resolve({ status: 101 });
    });
    sent.on('close', reject); // after `resolve` this does nothing
    sent.end(body);
  });
}

/** The class of an answer: its status, and the protocol's error. */
function answerClass({ status, type, body }) {
  if (status === 200 || status === 101) return { status };
  const text = body?.toString() ?? '';
  if (type !== 'application/json' || text === '') return { status, text };
  const { code, message } = JSON.parse(text);
  return { status, code, message };
}

/** A session over polling. */
class Polling {
  constructor(port, eio, query) {
    this.port = port;
    this.eio = eio;
    this.path = `/socket.io/?EIO=${eio}&transport=polling${query}`;
    this.isForm = query.includes('&j=');
    this.reader = new Reader(eio);
  }

  /** The handshake; the class of its answer. */
  async open() {
    const answer = await http(this.port, 'GET', this.path, { headers: ORIGIN });
    if (answer.status !== 200) return answerClass(answer);
    this.#read(answer);
    this.path += `&sid=${this.reader.opened.sid}`;
  }

  #read({ type, body }) {
    let bytes = body;
    const script = /^___eio\[\d*\]\((.*)\);$/s.exec(body.toString());
    if (script) bytes = Buffer.from(JSON.parse(script[1]));
    for (const item of payloadItems(this.eio, type, bytes)) this.reader.take(item);
  }

  /** Sends a payload as it is, for JSONP in a form. */
  async post(payload, headers = {}) {
    if (!this.isForm) return this.#post(payload, headers);
    const text = payload.toString().replace(/(\\)?\n/g, (whole, escape) => (escape ? whole : '\\n'));
    return this.#post(`d=${encodeURIComponent(text)}`, { 'Content-Type': 'application/x-www-form-urlencoded' });
  }

  async #post(body, headers) {
    return answerClass(await http(this.port, 'POST', this.path, { headers: { ...ORIGIN, ...headers }, body }));
  }

  /** Sends a packet that is well-formed. */
  send(packet) {
    return this.post(this.eio === '4' ? packet : `${packet.length}:${packet}`);
  }

  /** Polls until a namespace is entered; how the session ended where it is not. */
  async enter(namespace) {
    const answer = await this.send(connect(namespace));
    if (answer.status === 200) return this.until(namespace);
    // A session that the server ended keeps its last words for a poll.
    await http(this.port, 'GET', this.path, { headers: ORIGIN });
    return 'closed';
  }

  /** As `enter`, where the namespace is entered without asking. */
  async until(namespace) {
    while (!this.reader.entered(namespace)) {
      const answer = await http(this.port, 'GET', this.path, { headers: ORIGIN });
      if (answer.status === 'silent') return 'silent';
      if (answer.status !== 200) return 'closed';
      this.#read(answer);
      if (this.reader.closed) return 'closed';
    }
    return 'alive';
  }

  /** Leaves, so that no session is left behind. */
  async close() {
    await this.send('1');
  }
}

/** A session over a WebSocket, or a WebSocket that wants to take one over. */
class Socket {
  #ws;
  #waiting = new Set();

  constructor(port, eio, query) {
    this.reader = new Reader(eio);
    this.url = `ws://127.0.0.1:${port}/socket.io/?EIO=${eio}&transport=websocket${query}`;
  }

  /** Resolves to undefined once open, else to the class of the refusal. */
  open() {
    this.#ws = new WebSocket(this.url, { perMessageDeflate: false });
    const ws = this.#ws;
    ws.on('message', (data, isBinary) => {
      this.reader.take(isBinary ? data : data.toString());
      this.#changed();
    });
    ws.on('pong', () => {
      this.pongs = (this.pongs ?? 0) + 1;
      this.#changed();
    });
    ws.on('close', (code) => {
      this.code = code;
      this.#changed();
    });
    return new Promise((resolve) => {
      ws.on('open', () => resolve());
      ws.on('error', (error) => resolve({ status: error.message }));
      ws.on('unexpected-response', (sent, response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => {
          const { statusCode: status, headers } = response;
          resolve(answerClass({ status, type: headers['content-type'], body: Buffer.concat(chunks) }));
          sent.destroy();
        });
      });
    });
  }

  #changed() {
    for (const look of [...this.#waiting]) look();
  }

  /** 'alive' once the condition holds, else how the session ended. */
  until(condition) {
    let look;
    let timer;
    const end = new Promise((resolve) => {
      look = () => {
        if (condition()) resolve('alive');
        else if (this.code !== undefined) resolve('closed');
      };
      timer = setTimeout(() => resolve('silent'), SILENCE);
      this.#waiting.add(look);
      look();
    });
    return end.finally(() => {
      clearTimeout(timer);
      this.#waiting.delete(look);
    });
  }

  /** Sends a message, and waits until the server has read it. */
  async send({ data, binary }) {
    if (this.code !== undefined) return 'closed';
    const pongs = (this.pongs ?? 0) + 1;
    this.#ws.send(data, { binary });
    this.#ws.ping();
    return this.until(() => (this.pongs ?? 0) >= pongs);
  }

  /** Enters a namespace, and waits for the answer. */
  enter(namespace) {
    if (this.code !== undefined) return 'closed';
    this.#ws.send(connect(namespace));
    return this.until(() => this.reader.entered(namespace));
  }

  close() {
    this.#ws.terminate();
  }
}

const connect = (namespace) => (namespace === '/' ? '40' : `40${namespace},`);

/** Enters the namespaces that a case wants first; what went wrong. */
async function enterAll(session, eio, namespaces) {
  for (const namespace of namespaces) {
    const isImplicit = eio !== '4' && namespace === '/';
    const entered = isImplicit
      ? await session.until(session instanceof Socket ? () => session.reader.entered('/') : '/')
      : await session.enter(namespace);
    if (entered !== 'alive') throw new Error(`${namespace} is not entered: ${entered}`);
  }
}

/** Whether what a packet holds is the server's own: ids of sockets, and what a rule answers. */
const isOwn = ({ kind, namespace }) => kind === '0' || (kind === '3' && HEARD.includes(namespace));

/** What a session's packets come to. Where it ended some of the last may be lost, which no client can tell. */
function summary(reader, ended) {
  if (ended !== 'alive') return { ended };
  const packets = reader.packets
    .filter(({ kind, namespace }) => namespace !== '/sentinel' && !(kind === '2'))
    .map(({ data, ...packet }) => (isOwn(packet) ? packet : { ...packet, data }));
  return { ended, packets: packets.map((packet) => JSON.stringify(packet)).sort() };
}

/** Closes the session that a handshake has opened. */
async function leave(port, path, { status, body }) {
  const sid = status === 200 && /sid\\?":\\?"([\w-]+)/.exec(body.toString())?.[1];
  if (!sid) return;
  const eio = new URLSearchParams(path.slice(path.indexOf('?') + 1)).getAll('EIO').at(-1);
  const close = `/socket.io/?EIO=${encodeURIComponent(eio)}&transport=polling&sid=${sid}`;
  await http(port, 'POST', close, { headers: ORIGIN, body: eio === '4' ? '1' : '1:1' });
}

const kinds = {
  /** One HTTP request; `{sid}` stands for a session of its own where the case wants one. */
  async request(port, { method, path, headers, session, body }) {
    if (!session) {
      const answer = await http(port, method, path, { headers: { ...ORIGIN, ...headers }, body });
      await leave(port, path, answer);
      return answerClass(answer);
    }
    const polling = new Polling(port, session, '');
    await polling.open();
    const { sid } = polling.reader.opened;
    if (session !== '4') await polling.until('/');
    else await enterAll(polling, session, ['/']);
    // Something to poll for: none of these requests may have to wait.
    await polling.send('40/echo,');
    const answer = answerClass(await http(port, method, path.replaceAll('{sid}', sid), { headers: { ...ORIGIN, ...headers }, body }));
    await polling.close();
    return answer;
  },

  async websocket(port, { eio, query, namespaces, messages }) {
    const socket = new Socket(port, eio, query);
    const refused = await socket.open();
    if (refused) return refused;
    let ended = await socket.until(() => socket.reader.opened);
    if (ended === 'alive') await enterAll(socket, eio, namespaces);
    for (const message of messages) {
      if (ended === 'alive') ended = await socket.send(message);
    }
    if (ended === 'alive') ended = await socket.enter('/sentinel');
    socket.close();
    return { ...summary(socket.reader, ended), ...(ended === 'closed' && { code: socket.code }) };
  },

  async polling(port, { eio, query, namespaces, posts }) {
    const polling = new Polling(port, eio, query);
    const refused = await polling.open();
    if (refused) return refused;
    await enterAll(polling, eio, namespaces);
    const answers = [];
    for (const { body, headers, more = [] } of posts) {
      let answer;
      for (const payload of [body, ...more]) {
        answer = await polling.post(payload, headers);
        if (answer.status !== 200) break;
      }
      answers.push(answer);
      if (answer.status !== 200 && answer.status !== 413) break;
    }
    const ended = await polling.enter('/sentinel');
    if (ended === 'alive') await polling.close();
    return { answers, ...summary(polling.reader, ended) };
  },

  /** A WebSocket that wants to take a session over, and whether the session lives on where it does not. */
  async probe(port, { eio, messages }) {
    const polling = new Polling(port, eio, '');
    await polling.open();
    await enterAll(polling, eio, ['/']);
    const socket = new Socket(port, eio, `&sid=${polling.reader.opened.sid}`);
    const refused = await socket.open();
    if (refused) return refused;
    let taken = 'alive';
    for (const message of messages) {
      if (taken === 'alive') taken = await socket.send(message);
    }
    // No probe may say this, so that it ends a WebSocket which has not taken over.
    if (taken === 'alive') taken = await socket.enter('/sentinel');
    socket.close();
    if (taken === 'alive') return { taken, ...summary(socket.reader, 'alive') };
    const ended = await polling.enter('/sentinel');
    if (ended === 'alive') await polling.close();
    return { taken, probe: socket.reader.packets, ...summary(polling.reader, ended) };
  },
};

/** Puts a case to a server; what came of it, with what other clients heard. */
export async function drive(target, item) {
  const outcome = await kinds[item.kind](target.port, item);
  return { ...outcome, delivered: (await target.take()).map((event) => JSON.stringify(event)) };
}
