//! How long the parts of the gateway take by themselves, without a network and without other nodes: `micro [FILTER]`, in
//! nanoseconds by criterion; `micro --instructions [FILTER]`, in instructions as valgrind counts them.
//!
//! Instructions are the same in every run and on a busy machine, so that small changes show; what the kernel does is not
//! among them. Nothing here is asserted but that what was measured happened.

mod case;
mod codecs;
mod hub;
mod outbox;
mod relay;
mod world;

use std::process::Command;
use std::time::Duration;

use criterion::Criterion;

use case::Case;

/// The gateway's.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What makes this program count: for itself, under valgrind.
const INSTRUCTIONS: &str = "--instructions";
const COUNTED: &str = "--counted";

/// For each case; all take two or three minutes.
const WARM_UP_TIME: Duration = Duration::from_millis(500);
const MEASURED_TIME: Duration = Duration::from_millis(1500);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [INSTRUCTIONS] => instructions(""),
        [INSTRUCTIONS, filter] => instructions(filter),
        [COUNTED, name] => count(name),
        [] => times(Criterion::default()),
        [filter] => times(Criterion::default().with_filter(filter)),
        _ => panic!("unknown arguments: {arguments:?}"),
    }
}

/// All cases. What they stand on is made when it is their turn.
fn cases() -> Vec<Case> {
    [codecs::cases(), relay::cases(), outbox::cases(), hub::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Times of the cases that criterion is to take, beside those of its last run.
fn times(criterion: Criterion) {
    let mut criterion = criterion.warm_up_time(WARM_UP_TIME).measurement_time(MEASURED_TIME);
    for case in cases() {
        case.time(&mut criterion);
    }
    criterion.final_summary();
}

/// Instructions of all cases whose names hold `filter`, each in a process of its own.
fn instructions(filter: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    for case in cases().iter().filter(|case| case.name.contains(filter)) {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(["--collect-atstart=no", "--toggle-collect=*Case::counted*"])
            .arg(&program)
            .args([COUNTED, &case.name])
            .output();
        let output = output.unwrap_or_else(|error| panic!("valgrind: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", case.name);
        let collected = said
            .split("Collected :")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let collected: u64 = collected
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{said}"));
        assert!(collected > 0, "{}: nothing was counted", case.name);
        println!("{:<58} {:>12}", case.name, collected / u64::from(case.repeats));
    }
}

/// Does one case, for valgrind.
fn count(name: &str) {
    let mut cases = cases();
    cases.retain(|case| case.name == name);
    let [case] = cases
        .try_into()
        .unwrap_or_else(|_| panic!("not one case is called {name}"));
    case.count();
}
