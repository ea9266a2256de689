/** What the files of deploy/ say twice they say alike, and their numbers fit the gateway's defaults. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';

import { VARIANTS, deployed } from './balancer.mjs';

/** What a balancer reads of a file. */
const settings = (text) => text.split('\n').map((line) => line.replace(/(^|\s)#.*/, '').trim()).filter((line) => line !== '');

/** The file without a block or section. */
const without = (text, block) => text.replace(block, '');

it('the sticky nginx differs from the other by its upstream alone', async () => {
  const rest = async (file) => settings(without(await deployed(file), /^ *upstream roomcast \{$[^}]*\}$/m));
  const upstream = async (file) => settings(await deployed(file)).filter((line) => /^(server gateway|keepalive|zone)/.test(line));
  assert.deepEqual(await rest('nginx-sticky.conf'), await rest('nginx.conf'));
  assert.deepEqual(await upstream('nginx-sticky.conf'), await upstream('nginx.conf'));
});

it('the sticky HAProxy differs from the other by who tells the address and by its cookie', async () => {
  const plain = settings(await deployed('haproxy.cfg')).filter((line) => !/^(option forwardfor|http-request set-header)/.test(line));
  const sticky = settings(await deployed('haproxy-sticky.cfg'));
  const own = (line) => /^(cookie |default-server send-proxy-v2)/.test(line);
  assert.equal(sticky.filter(own).length, 2);
  assert.deepEqual(sticky.filter((line) => !own(line)).map((line) => line.replace(/ cookie \d$/, '')), plain);
});

it('limits and timeouts fit the gateway', async () => {
  const defaults = await readFile(new URL('../../config/roomcast.toml', import.meta.url), 'utf8');
  const given = (name) => Number(new RegExp(`^${name} = "(\\d+)(s|MB)"$`, 'm').exec(defaults)[1]);
  const deadAfter = given('ping_interval') + given('ping_timeout');
  const keptFor = 75;
  for (const file of new Set(Object.values(VARIANTS).map((variant) => variant.file))) {
    const text = settings(await deployed(file)).join('\n');
    const all = (pattern) => [...text.matchAll(pattern)].map(([, number]) => Number(number));
    const silent = all(/^(?:proxy_(?:read|send)?_?timeout|timeout (?:client|server|tunnel)) (\d+)s;?$/gm);
    assert.ok(silent.length >= 1 && silent.every((seconds) => seconds > deadAfter), `${file}: ${silent}`);
    for (const seconds of all(/^(?:keepalive_timeout|timeout http-keep-alive) (\d+)s;?$/gm)) assert.ok(seconds < keptFor, file);
    // In JSONP's forms three bytes may stand for one.
    for (const megabytes of all(/^client_\w+_size (\d+)m;$/gm)) assert.ok(megabytes >= 3 * given('max_payload'), file);
    assert.equal(all(/(non_idempotent|http_50\d|all-retryable|shutdown-sessions)/g).length, 0, file);
  }
});
