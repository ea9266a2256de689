/**
 * Reads what a server sends: Engine.IO payloads and Socket.IO packets, as values that compare.
 *
 * Trusts the server to be well-formed: a packet that cannot be read is an error, and fails the test.
 */

/** A JSON value with binary as `{bytes: hex}`, and everything else as JSON has it. */
export function normal(value) {
  if (value instanceof ArrayBuffer) return { bytes: Buffer.from(value).toString('hex') };
  if (ArrayBuffer.isView(value)) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(normal);
  if (value !== null && typeof value === 'object') {
    // Node servers lose what is under `__proto__` where there are attachments.
    const kept = Object.entries(value).filter(([key]) => key !== '__proto__');
    return Object.fromEntries(kept.map(([key, item]) => [key, normal(item)]));
  }
  if (typeof value === 'number') return Number.isFinite(value) ? value + 0 || 0 : null;
  return value ?? null;
}

/** The items of a poll's answer: texts, and buffers where a v3 payload holds raw binary. */
export function payloadItems(eio, contentType, body) {
  if (eio === '4') return body.toString().split('\x1e');
  return contentType === 'application/octet-stream' ? binaryItems(body) : textItems(body.toString());
}

function textItems(text) {
  const items = [];
  for (let rest = text; rest !== ''; ) {
    const colon = rest.indexOf(':');
    const end = colon + 1 + Number(rest.slice(0, colon));
    items.push(rest.slice(colon + 1, end));
    rest = rest.slice(end);
  }
  return items;
}

function binaryItems(body) {
  const items = [];
  for (let rest = body; rest.length > 0; ) {
    const end = rest.indexOf(0xff);
    const length = Number([...rest.subarray(1, end)].join(''));
    const item = rest.subarray(end + 1, end + 1 + length);
    items.push(rest[0] === 0 ? item.toString() : item);
    rest = rest.subarray(end + 1 + length);
  }
  return items;
}

/** Puts a server's items together to packets. */
export class Reader {
  #eio;
  #partial;

  /** Socket.IO packets and Engine.IO's pongs and closes: `{kind, namespace, id, data}`. */
  packets = [];

  constructor(eio) {
    this.#eio = eio;
  }

  /** One text or binary message of a WebSocket, or one item of a payload. */
  take(item) {
    if (typeof item !== 'string') return this.#attachment(this.#eio === '4' ? item : item.subarray(1));
    const [type, data] = [item[0], item.slice(1)];
    if (type === '4') this.#text(data);
    if (type === 'b') this.#attachment(Buffer.from(this.#eio === '4' ? data : data.slice(1), 'base64'));
    if (type === '0') this.opened = JSON.parse(data);
    if (type === '3') this.packets.push({ kind: 'pong', ...(data !== '' && { data }) });
    if (type === '1') this.closed = true;
  }

  #text(text) {
    const [, kind, count, namespace, id, json] = /^(\d)(?:(\d+)-)?(?:(\/[^,]*),?)?(\d*)(.*)$/s.exec(text);
    const packet = { kind, namespace: namespace ?? '/' };
    if (id !== '') packet.id = id;
    if (json !== '') packet.data = JSON.parse(json);
    if (count === undefined) this.#done(packet);
    else this.#partial = { packet, missing: Number(count), attachments: [] };
  }

  #attachment(bytes) {
    const partial = this.#partial;
    partial.attachments.push(bytes);
    if (partial.attachments.length < partial.missing) return;
    const fill = (value) => {
      if (value?._placeholder === true) return partial.attachments[value.num];
      if (Array.isArray(value)) return value.map(fill);
      if (value === null || typeof value !== 'object') return value;
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item)]));
    };
    // Events and acks with attachments are of the kinds of those without.
    const kind = { 5: '2', 6: '3' }[partial.packet.kind];
    this.#done({ ...partial.packet, kind, data: fill(partial.packet.data) });
    this.#partial = undefined;
  }

  #done(packet) {
    if (packet.data !== undefined) packet.data = normal(packet.data);
    this.packets.push(packet);
  }

  /** Whether a namespace let us in, or refused. */
  entered(namespace) {
    return this.packets.some((packet) => /[04]/.test(packet.kind) && packet.namespace === namespace);
  }
}
