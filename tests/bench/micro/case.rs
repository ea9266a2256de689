//! One thing that is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// Repetitions that nobody counts, so that tables and buffers have the size that they keep.
const WARM_UPS: u32 = 3;

/// What makes a case ready, at its turn.
type Begin = Box<dyn FnOnce() -> Steps>;

/// A name, and what is done under it again and again.
pub(crate) struct Case {
    pub(crate) name: String,
    /// How often it is done where instructions are counted.
    pub(crate) repeats: u32,
    begin: Begin,
}

/// What is measured, and what has to be done each time before.
struct Steps {
    prepare: Option<Box<dyn FnMut()>>,
    work: Box<dyn FnMut()>,
}

impl Case {
    /// Something that can be done again and again on one input.
    pub(crate) fn new<T: 'static, R>(
        name: impl Into<String>,
        input: impl FnOnce() -> T + 'static,
        mut work: impl FnMut(&mut T) -> R + 'static,
    ) -> Self {
        Self::boxed(name.into(), 100, move || {
            let mut input = input();
            Steps {
                prepare: None,
                work: Box::new(move || {
                    black_box(work(black_box(&mut input)));
                }),
            }
        })
    }

    /// Something that has to be prepared each time, which is not measured.
    pub(crate) fn prepared<T: 'static, R>(
        name: impl Into<String>,
        input: impl FnOnce() -> T + 'static,
        mut prepare: impl FnMut(&mut T) + 'static,
        mut work: impl FnMut(&mut T) -> R + 'static,
    ) -> Self {
        Self::boxed(name.into(), 20, move || {
            let input = std::rc::Rc::new(std::cell::RefCell::new(input()));
            let other = std::rc::Rc::clone(&input);
            Steps {
                prepare: Some(Box::new(move || prepare(&mut other.borrow_mut()))),
                work: Box::new(move || {
                    black_box(work(black_box(&mut input.borrow_mut())));
                }),
            }
        })
    }

    fn boxed(name: String, repeats: u32, begin: impl FnOnce() -> Steps + 'static) -> Self {
        Self {
            name,
            repeats,
            begin: Box::new(begin),
        }
    }

    /// Has criterion time it.
    pub(crate) fn time(self, criterion: &mut Criterion) {
        let mut begin = Some(self.begin);
        let mut steps = None; // what criterion filters out is never made ready
        criterion.bench_function(&self.name, |bencher| {
            if let Some(begin) = begin.take() {
                steps = Some(begin());
            }
            let Some(Steps { prepare, work }) = &mut steps else {
                return;
            };
            match prepare {
                None => bencher.iter(work),
                Some(prepare) => bencher.iter_custom(|times| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..times {
                        prepare();
                        let started = Instant::now();
                        work();
                        spent += started.elapsed();
                    }
                    spent
                }),
            }
        });
    }

    /// Does it so many times as it says.
    pub(crate) fn count(self) {
        let mut steps = (self.begin)();
        let mut prepare = || {
            if let Some(prepare) = &mut steps.prepare {
                prepare();
            }
        };
        for _ in 0..WARM_UPS {
            prepare();
            (steps.work)();
        }
        for _ in 0..self.repeats {
            prepare();
            Self::counted(&mut *steps.work);
        }
    }

    /// What is done in here is what valgrind counts; it finds it by its name.
    #[inline(never)]
    fn counted(work: &mut dyn FnMut()) {
        work();
    }
}
