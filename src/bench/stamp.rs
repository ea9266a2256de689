//! What a published message says about itself: who sent it, as which one, and when.
//!
//! Forty letters somewhere in the payload, so that they survive every transport, parser and server unchanged, and are
//! found without reading the packet around them. A stamp of another run is none of ours.

use std::cell::Cell;

use memchr::memmem;

/// Bytes of a stamp, which is the smallest payload.
pub(super) const STAMP_BYTES: usize = 40;

/// Letters that name the run.
const MARK_BYTES: usize = 8;

/// The letter for the digit zero; the fifteen behind it are the others. No parser has to escape one of them.
const ZERO: u8 = b'a';

/// The same in the mark, so that none begins in a number.
const MARK_ZERO: u8 = b'A';

/// Fills a payload up.
const FILLER: u8 = b'x';

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Index of the publisher.
    pub(super) publisher: u32,
    /// Which of its messages this is.
    pub(super) number: u32,
    /// Nanoseconds of the run's clock.
    pub(super) sent: u64,
}

/// Writes the stamps of one run and finds them.
#[derive(Debug)]
pub(super) struct Stamper {
    mark: [u8; MARK_BYTES],
    /// Where the last one was: in almost all cases the next one is there, too.
    place: Cell<usize>,
}

impl Stamper {
    /// A stamper whose stamps are told from those of others by `run`.
    pub(super) fn new(run: u32) -> Self {
        let mut mark = [0; MARK_BYTES];
        write_digits(&mut mark, MARK_ZERO, run.into());
        Self {
            mark,
            place: Cell::new(0),
        }
    }

    /// A payload of `bytes` that begins with this stamp.
    pub(super) fn payload(&self, stamp: Stamp, bytes: usize) -> String {
        let mut payload = vec![FILLER; bytes.max(STAMP_BYTES)];
        payload[..8].copy_from_slice(&self.mark);
        write_digits(&mut payload[8..16], ZERO, stamp.publisher.into());
        write_digits(&mut payload[16..24], ZERO, stamp.number.into());
        write_digits(&mut payload[24..STAMP_BYTES], ZERO, stamp.sent);
        String::from_utf8(payload).expect("letters alone are UTF-8")
    }

    /// The stamp in a message, if it has one of this run.
    #[inline]
    pub(super) fn find(&self, message: &[u8]) -> Option<Stamp> {
        let mut at = self.place.get();
        if message.get(at..at + MARK_BYTES) != Some(&self.mark) {
            at = memmem::find(message, &self.mark)?;
            self.place.set(at);
        }
        let digits: &[u8; STAMP_BYTES] = message.get(at..)?.first_chunk()?;
        Some(Stamp {
            publisher: digits_at(digits, 8) as u32,
            number: digits_at(digits, 16) as u32,
            sent: digits_at(digits, 24) << 32 | digits_at(digits, 32),
        })
    }
}

/// A payload of `bytes` without a stamp.
pub(super) fn plain_payload(bytes: usize) -> String {
    char::from(FILLER).to_string().repeat(bytes)
}

fn write_digits(out: &mut [u8], zero: u8, mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = zero + (value & 15) as u8;
        value >>= 4;
    }
}

/// The number that eight letters stand for: all of them at once, as this is done for every delivery.
fn digits_at(stamp: &[u8; STAMP_BYTES], at: usize) -> u64 {
    let letters: [u8; 8] = stamp[at..at + 8].try_into().expect("eight bytes are eight bytes");
    let mut value = u64::from_be_bytes(letters).wrapping_sub(u64::from_be_bytes([ZERO; 8]));
    value = (value | value >> 4) & 0x00ff_00ff_00ff_00ff;
    value = (value | value >> 8) & 0x0000_ffff_0000_ffff;
    (value | value >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp {
        publisher: 7,
        number: 123_456,
        sent: 9_876_543_210,
    };

    #[test]
    fn a_payload_has_the_size_that_was_asked_for() {
        let stamper = Stamper::new(1);
        for (bytes, expected) in [(0, STAMP_BYTES), (40, 40), (41, 41), (1000, 1000)] {
            assert_eq!(stamper.payload(STAMP, bytes).len(), expected);
        }
        assert_eq!(plain_payload(3), "xxx");
    }

    #[test]
    fn stamps_of_other_runs_and_cut_ones_are_none() {
        let (ours, other) = (Stamper::new(1), Stamper::new(2));
        let payload = other.payload(STAMP, 64);
        assert_eq!(ours.find(payload.as_bytes()), None);
        assert_eq!(other.find(payload.as_bytes()), Some(STAMP));
        assert_eq!(other.find(&payload.as_bytes()[..39]), None);
        assert_eq!(other.find(b""), None);
        assert_eq!(other.find(plain_payload(200).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn a_stamp_is_found_wherever_it_stands(
            run: u32, publisher: u32, number: u32, sent: u64, bytes in 0usize..200, before in "[ -~]{0,50}", then in "[ -~]{0,50}",
        ) {
            let stamper = Stamper::new(run);
            let stamp = Stamp { publisher, number, sent };
            let payload = stamper.payload(stamp, bytes);
            for before in [before, then] {
                let message = format!("{before}\"{payload}\"]");
                prop_assert_eq!(stamper.find(message.as_bytes()), Some(stamp));
            }
        }
    }
}
