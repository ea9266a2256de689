/**
 * Values that a gateway, a transport or an old encoding could damage. Pages load this file too.
 */

/** Texts and other JSON values, each under a name that tells what could go wrong. */
export const VALUES = {
  'ASCII': 'hello',
  'two and three bytes': 'é€漢字',
  'emoji': '😀 👩‍👩‍👧‍👦 🏳️‍🌈',
  'every width at once': 'aé€😀aé€😀',
  'line and paragraph separators': 'a\u2028b\u2029c',
  'quotes and backslashes': '"\'\\ \\" \\\\ / </script> <!--',
  'newlines, plain and escaped': 'a\nb\\nc\\\nd\\\\ne\r\n\t',
  'control characters': '\u0000\u0001\b\f\u001e\u001f\u007f\u0080\u009f',
  'looks like a payload': '2:40 97:0{"sid"} 42["x"] b4AQID 4\u001e4',
  'looks like a packet with attachments': '451-["x",{"_placeholder":true,"num":0}]',
  'form characters': 'a+b%20c&d=e?f#g;h',
  'byte order mark and non-characters': '\ufeffa\uffffb\ufffd',
  'half of a surrogate pair': 'a\ud83db',
  'empty text': '',
  '100,000 bytes': 'x'.repeat(100_000),
  '90,000 bytes of emoji': '😀é€'.repeat(10_000),
  'null': null,
  'true': true,
  'zero': 0,
  'negative': -1.5,
  'largest safe integer': Number.MAX_SAFE_INTEGER,
  'smallest safe integer': Number.MIN_SAFE_INTEGER,
  'large and small numbers': [1e21, 1.7976931348623157e308, 5e-324],
  'empty containers': [[], {}, [[]], [{}]],
  'nested': { a: [1, { b: [null, { c: 'd😀' }] }], 'ключ "k"': { '': [] } },
  'placeholder without binary': { _placeholder: true, num: 0 },
};

const bytes = (count, factor = 1) => Uint8Array.from({ length: count }, (_, index) => (index * factor) % 256);

/** Argument lists with binary in them; `make` turns bytes into what a client sends. */
export const binaries = (make) => ({
  'one attachment': [make(bytes(256))],
  'one byte': [make(bytes(1))],
  'between texts': ['before 😀', make(bytes(300, 7)), 'after €'],
  'nested': [{ a: [make(bytes(3)), { b: make(bytes(5, 3)), c: 'text' }], d: null }],
  'ten attachments': [Array.from({ length: 10 }, (_, index) => make(bytes(index + 1, index + 1)))],
  'bytes that look like text': [make(Uint8Array.from([0x34, 0x32, 0x5b, 0x5d, 0x1e, 0x00, 0xff, 0x80]))],
  '100,000 bytes': [make(bytes(100_000, 31))],
});
