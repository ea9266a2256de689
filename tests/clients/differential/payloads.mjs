/**
 * Cuts the body of a POST into packets as strictly as the protocol is written, and joins packets to a body.
 */

/** The packets up to the first fault, texts and buffers, and whether there was none. */
export function cut(body, eio, isBinary) {
  if (eio === '4') return { packets: body.toString().split('\x1e'), isWhole: true };
  return isBinary ? cutBinary(body) : cutText(body.toString());
}

function cutText(text) {
  const packets = [];
  let rest = text;
  while (rest !== '') {
    const [whole, digits] = /^(\d{1,10}):/.exec(rest) ?? [];
    const end = whole === undefined ? Infinity : whole.length + Number(digits);
    // A length that ends inside of a character is a fault, too.
    if (end > rest.length || /[\ud800-\udbff]$/.test(rest.slice(0, end))) break;
    packets.push(rest.slice(whole.length, end));
    rest = rest.slice(end);
  }
  return { packets, isWhole: rest === '' && text !== '' };
}

function cutBinary(body) {
  const packets = [];
  let rest = body;
  while (rest.length > 0) {
    const end = rest.indexOf(0xff, 1);
    const digits = [...rest.subarray(1, Math.max(end, 1))];
    const length = end > 1 && digits.length <= 10 && digits.every((digit) => digit < 10) ? Number(digits.join('')) : Infinity;
    const data = rest.subarray(end + 1, end + 1 + length);
    if (data.length < length) break;
    if (rest[0] === 0 && Buffer.from(data.toString()).equals(data)) packets.push(data.toString());
    else if (rest[0] === 1 && data[0] === 4) packets.push(data);
    else break;
    rest = rest.subarray(end + 1 + length);
  }
  return { packets, isWhole: rest.length === 0 && body.length > 0 };
}

/** The body of a POST with these packets. */
export function join(packets, eio, isBinary) {
  if (eio === '4') return Buffer.from(packets.join('\x1e'));
  if (!isBinary) return Buffer.from(packets.map((packet) => `${packet.length}:${packet}`).join(''));
  return Buffer.concat(
    packets.map((packet) => {
      const data = Buffer.from(packet);
      const digits = [...String(data.length)].map(Number);
      return Buffer.concat([Buffer.from([typeof packet === 'string' ? 0 : 1, ...digits, 0xff]), data]);
    }),
  );
}
