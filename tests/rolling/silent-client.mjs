/** A client for `leaving.test.mjs`, as a process of its own, so that it can be stopped. Must never outlive its parent. */

import { library } from '../clients/clients.mjs';

const [, , url, transport] = process.argv;
const socket = library('4.8.4')(url, { transports: [transport], reconnection: false });
socket.on('connect', () => socket.emit('join', 'flood', ({ ok }) => process.stdout.write(ok ? 'joined\n' : 'refused\n')));
process.stdin.resume().on('end', () => process.exit(0));
