//! One line on stderr that tells how it goes, written again once a second. Nothing where nobody looks.

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// Tells what happened in so many seconds since it was asked last.
type Words = Box<dyn FnMut(f64) -> String>;

/// The line.
pub(super) struct Progress {
    is_shown: bool,
    words: RefCell<Option<Words>>,
}

impl Progress {
    pub(super) fn new(is_shown: bool) -> Self {
        Self {
            is_shown,
            words: RefCell::new(None),
        }
    }

    /// From now on the line is made by `words`, which are told the seconds since they were asked last.
    pub(super) fn show(&self, mut words: impl FnMut(f64) -> String + 'static) {
        if self.is_shown {
            self.write(&words(0.0));
            *self.words.borrow_mut() = Some(Box::new(words));
        }
    }

    /// Tells, for ever.
    pub(super) async fn tell(self: Rc<Self>) {
        if !self.is_shown {
            return;
        }
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let text = self
                .words
                .borrow_mut()
                .as_mut()
                .map(|words| words(last.elapsed().as_secs_f64()));
            last = Instant::now();
            if let Some(text) = text {
                self.write(&text);
            }
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.is_shown {
            self.write("");
        }
    }

    fn write(&self, text: &str) {
        // Nobody is left to be told when this fails.
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{CLEAR}{text}").and_then(|()| stderr.flush());
    }
}

/// What was counted since it was asked last, a second.
pub(super) struct Pace(u64);

impl Pace {
    pub(super) fn new(count: u64) -> Self {
        Self(count)
    }

    pub(super) fn next(&mut self, count: u64, seconds: f64) -> f64 {
        let more = count.saturating_sub(self.0);
        self.0 = count;
        if seconds > 0.0 { more as f64 / seconds } else { 0.0 }
    }
}
