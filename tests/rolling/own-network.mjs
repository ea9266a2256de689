/**
 * A file that imports this runs in a network of its own, where it may make hosts and cut cables: nothing of the machine's
 * network is touched or can be reached, and nothing is left behind.
 *
 * Wants root, or a system that lets users make namespaces.
 */

import { execFileSync, spawn } from 'node:child_process';

const INSIDE = 'ROOMCAST_TEST_NETWORK';

/** The same program again, inside; ends as that does. */
async function runInside() {
  const words = process.getuid() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];
  try {
    execFileSync('unshare', [...words, 'nft', 'list', 'ruleset'], { stdio: 'pipe' });
    execFileSync('unshare', [...words, 'ip', 'link'], { stdio: 'pipe' });
  } catch (error) {
    const why = `${error.stderr ?? ''}`.trim() || error.message;
    throw new Error(`these tests make networks, so they must run as root, with ip and nft at hand: ${why}`);
  }
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...words, ...program], { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
  for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => child.kill(name));
  process.on('exit', () => child.kill('SIGKILL'));
  const [code, signal] = await new Promise((resolve) => child.once('close', (...end) => resolve(end)));
  process.exit(signal ? 1 : code);
}

if (!process.env[INSIDE]) await runInside();
execFileSync('ip', ['link', 'set', 'lo', 'up']);
