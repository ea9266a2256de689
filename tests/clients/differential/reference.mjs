/**
 * The stock Node.js servers with the namespaces of `CONFIGURATION`, as what the gateway is compared to.
 *
 * Must never change what a server accepts: it only notes events and answers them.
 */

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

import { normal } from './packets.mjs';

const require = createRequire(import.meta.url);

/** Bytes of a message, for all servers alike: small enough that generated ones go beyond. */
export const PAYLOAD_BYTES_MAX = 20_000;

/** Namespaces whose events the others there hear, for the gateway; a Node server only notes them. */
export const HEARD = ['/', '/other'];

/** The gateway's half: events of `/` and `/other` reach an observer, those of the others are answered. */
export const CONFIGURATION = `
[engine]
max_payload = "${PAYLOAD_BYTES_MAX}B"
ping_interval = "5m"
ping_timeout = "5m"
${HEARD.map((name) => rule(name, 'broadcast')).join('')}
${['/echo', '/dynamic-*', '/sentinel'].map((name) => rule(name, 'ack')).join('')}
`;

function rule(namespace, action) {
  return `
[[namespace]]
name = "${namespace}"
[[namespace.event]]
name = "*"
action = "${action}"
`;
}

/** A running Node.js server. */
export class Reference {
  #server;
  #io;

  /** Events of `HEARD` namespaces since it was last emptied: `[namespace, arguments]`. */
  delivered = [];

  static async start(version) {
    const reference = new Reference();
    reference.#server = createServer();
    const options = {
      serveClient: false,
      allowEIO3: true,
      pingInterval: 300_000,
      pingTimeout: 300_000,
      maxHttpBufferSize: PAYLOAD_BYTES_MAX,
      cookie: false,
    };
    reference.#io = require(`server-${version}`)(reference.#server, options);
    for (const namespace of HEARD) {
      reference.#serve(namespace, (args) => {
        reference.delivered.push([namespace, normal(args)]);
        return [{ ok: true }];
      });
    }
    for (const namespace of ['/echo', /^\/dynamic-.*$/, '/sentinel']) reference.#serve(namespace, (args) => args.slice(1));
    reference.#server.listen(0, '127.0.0.1');
    await once(reference.#server, 'listening');
    reference.version = version;
    reference.port = reference.#server.address().port;
    return reference;
  }

  #serve(namespace, handle) {
    this.#io.of(namespace).on('connection', (socket) => {
      // A middleware sees every event, whatever its name.
      socket.use((packet) => {
        const answer = typeof packet.at(-1) === 'function' ? packet.pop() : undefined;
        const answers = handle(packet);
        answer?.(...answers);
      });
    });
  }

  /** What was delivered since the last call. */
  async take() {
    return this.delivered.splice(0);
  }

  async stop() {
    const closed = once(this.#server, 'close');
    this.#io.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
