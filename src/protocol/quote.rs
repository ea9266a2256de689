//! Text as it stands in a JSON string.
//!
//! Looked through eight bytes at a time, as most of it needs no escape. Never checks that it is UTF-8: it was before.

/// Writes `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain(rest.as_bytes()));
        out.push_str(plain);
        let Some(byte) = special.bytes().next() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let code = usize::from(control);
                out.push_str("\\u00");
                out.push(char::from(HEX[code >> 4]));
                out.push(char::from(HEX[code & 15]));
            }
        }
        rest = &special[1..];
    }
    out.push('"');
}

/// Bytes at the beginning that stand in a JSON string as they are: up to a quote, a backslash or a control character.
/// Eight at a time: what is above 0x7f is never one of them, so a byte tells by its highest bit once it is compared.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let (words, tail) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Carries go upwards: the lowest mark of each is right.
        let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word;
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        let marks = (is(b'"') | is(b'\\') | below(word, 0x20)) & (EACH << 7);
        if marks != 0 {
            return index * size_of::<u64>() + marks.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - tail.len() + tail.iter().position(is_special).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_plain_is_found_as_byte_by_byte(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1e..0x24_u8, 0x5a..0x5e_u8, Just(b'x')], 0..40),
        ) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain(&bytes), expected.unwrap_or(bytes.len()));
        }
    }
}
