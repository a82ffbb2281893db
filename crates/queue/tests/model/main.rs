//! Queues against a simple model: random sends, receives, deletes and all the rest, with clocks that jump, crashes and restarts
//! between any two operations, and snapshots and copies all the time.
//!
//! Checked are: never two live leases on a message, nothing lost, nothing delivered after its delete, receive counts, order in
//! FIFO queues, repeats, dead letters and moves that arrive exactly once. A failure prints its seed: `WEIR_SEED=7` runs that
//! one alone, `WEIR_SEEDS=1000` runs so many.
#![expect(clippy::unwrap_used, reason = "clippy does not know that a function which tests share is a test")]

mod driver;
mod model;
#[path = "../support/mod.rs"]
mod support;

/// Operations of one seed.
const OPERATIONS: usize = 400;
/// Seeds, unless the environment says otherwise.
const SEEDS: u64 = 48;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn queues_do_what_the_model_does() {
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WEIR_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        driver::Driver::run(seed, OPERATIONS);
    }
}
