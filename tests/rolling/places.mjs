/**
 * Addresses for the servers of a test: loopback ones of this process alone.
 *
 * A gateway that is started anew must get its ports back. On 127.0.0.1 one of the many connections of clients may have
 * taken a port meanwhile; connections never begin at the addresses given here.
 */

/** Addresses a process may have. */
const PLACES = 16;

let taken = 0;

/** The next address. */
export function place() {
  taken += 1;
  if (taken >= PLACES - 1) throw new Error(`a test process has ${PLACES - 2} addresses`);
  const number = (process.pid % 2 ** 20) * PLACES + taken;
  return `127.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
}
