/**
 * An identity provider: signs tokens with a key of its own, RSA and EC by turns, and publishes the set of its public keys.
 *
 * Must never sign with a key that it does not publish at the same moment.
 */

import { execFile } from 'node:child_process';
import { generateKeyPair, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer as createPlainServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const generate = promisify(generateKeyPair);

/** The algorithms that it signs with, one after the other. */
const ALGORITHMS = [
  ['RS256', 'rsa', { modulusLength: 2048 }],
  ['ES256', 'ec', { namedCurve: 'P-256' }],
];

/** The set (JWKS) of these keys. */
const setOf = (keys) => JSON.stringify({ keys: keys.map(({ published }) => published) });

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A provider without a place; `serve` and `write` give it one. */
export class Provider {
  #keys = [];
  #made = 0;
  #file;

  /** How often its set was asked for. */
  asked = 0;

  /** What answers wait for; they are of the moment when they were asked for. */
  held = Promise.resolve();

  /** One with a first key. */
  static async start() {
    const provider = new Provider();
    await provider.rotate();
    return provider;
  }

  /** From now on it signs with a new key; those before it stay in the set, as their tokens are still good. */
  async rotate() {
    const [alg, type, options] = ALGORITHMS[this.#made % ALGORITHMS.length];
    this.#made += 1;
    const kid = `key-${this.#made}`;
    const { publicKey, privateKey } = await generate(type, options);
    const key = { alg, kid, privateKey, published: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } };
    const keys = [key, ...this.#keys];
    if (this.#file) await this.#write(keys);
    this.#keys = keys;
    return kid;
  }

  /** A token by its newest key. */
  token(user, claims = {}) {
    const [{ alg, kid, privateKey }] = this.#keys;
    const exp = Math.floor(Date.now() / 1000) + 300;
    const message = `${part({ alg, kid, typ: 'JWT' })}.${part({ sub: user, exp, ...claims })}`;
    const signature = sign('sha256', Buffer.from(message), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${message}.${signature.toString('base64url')}`;
  }

  /** A token of a key that nobody has. */
  forged(user) {
    const [header, ...rest] = this.token(user).split('.');
    return [part({ ...JSON.parse(Buffer.from(header, 'base64url')), kid: `nobody-${this.asked}` }), ...rest].join('.');
  }

  /** Serves its set until the test ends, by TLS with a `certificate`; resolves to the URL. */
  async serve(t, certificate) {
    const answer = async (request, response) => {
      this.asked += 1;
      const set = setOf(this.#keys);
      await this.held;
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(set);
    };
    const server = certificate ? createTlsServer(certificate, answer) : createPlainServer(answer);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.closeAllConnections() ?? server.close());
    return `${certificate ? 'https' : 'http'}://localhost:${server.address().port}/keys`;
  }

  /** Keeps its set in a file, as long as the test lasts; resolves to its name. */
  async write(t) {
    const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-keys-'));
    t.after(() => rm(directory, { recursive: true }));
    this.#file = path.join(directory, 'keys.json');
    await this.#write(this.#keys);
    return this.#file;
  }

  async #write(keys) {
    await writeFile(`${this.#file}.new`, setOf(keys));
    await rename(`${this.#file}.new`, this.#file);
  }
}

/** A certificate authority of this test, the file that it is in, and a certificate of it for `localhost`. */
export async function makeCertificate(t) {
  const directory = await mkdtemp(path.join(tmpdir(), 'roomcast-authority-'));
  t.after(() => rm(directory, { recursive: true }));
  const file = (name) => path.join(directory, name);
  const openssl = (...words) => run('openssl', words);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  await openssl('req', '-x509', ...key, '-subj', '/CN=authority of a test', '-keyout', file('ca.key'), '-out', file('ca.pem'));
  await openssl(
    ...['req', '-x509', ...key, '-subj', '/CN=localhost', '-keyout', file('key.pem'), '-out', file('cert.pem')],
    ...['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=CA:FALSE'],
  );
  return { authority: file('ca.pem'), certificate: { key: await readFile(file('key.pem')), cert: await readFile(file('cert.pem')) } };
}
