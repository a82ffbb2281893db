//! What an estimate says, and in how many seeded runs it is right.

mod simulation;

use std::collections::BTreeMap;
use std::time::Duration;

use weir_types::{SequenceNumber, Timestamp};

use super::*;
use crate::Task;
use crate::progress::{Brought, Counted, Event, Further, PAGE_CLASSES, Pages, Progress, Step, StepProgress};
use crate::runs::{By, Run, State};

fn task(resource: &str, tenant: &str) -> Task {
    Task {
        run: 1,
        resource: resource.to_owned(),
        tenant: tenant.to_owned(),
        values: BTreeMap::new(),
        page: None,
        pages: 0,
        attempt: 0,
    }
}

fn steps() -> Vec<Step> {
    let step = |resource: &str, parent: Option<&str>| Step {
        resource: resource.to_owned(),
        parent: parent.map(str::to_owned),
    };
    vec![step("group", None), step("readings", Some("group"))]
}

fn supply(allowance: &dyn Allowance) -> Supply<'_> {
    let retry_delay = Duration::from_secs(1);
    Supply { allowance, retry_delay, in_flight: 0, company: Company::Alone, vendor: Vendor::Up }
}

/// A run with `groups` roots, of which those in `answered` have made so many readings, one of which was answered.
fn run(groups: usize, answered: &[usize]) -> Progress {
    let roots: Vec<Task> = (0..groups).map(|_| task("group", "")).collect();
    let mut progress = Progress::default();
    progress.apply(SequenceNumber(0), &Event::started(1, Timestamp(0), steps(), &roots));
    for (place, readings) in answered.iter().enumerate() {
        let mut counted = Counted::new(1, Timestamp(1_000 * place as i64));
        let children: Vec<Task> = (0..*readings).map(|_| task("readings", "")).collect();
        counted.answered(&task("group", ""), Brought::default(), &children);
        counted.answered(&task("readings", ""), Brought::default(), &[]);
        progress.apply(SequenceNumber(place as u64 + 1), &Event::Counted(counted));
    }
    progress
}

fn estimate(progress: &Progress, history: &[Run], allowance: &dyn Allowance) -> Estimate {
    let prior = Prior::of(history, None);
    Estimator { prior: &prior, supply: supply(allowance), now: Timestamp(0) }.run(progress.run(1).unwrap())
}

fn over(number: u64, progress: &Progress) -> Run {
    Run {
        number,
        by: By::Hand,
        params: BTreeMap::new(),
        tenants: None,
        request: None,
        state: State::Complete,
        asked_at: Timestamp(0),
        started_at: Some(Timestamp(0)),
        paused_at: None,
        paused_ms: 0,
        ended_at: Some(Timestamp(1)),
        reason: None,
        starts: BTreeMap::new(),
        counts: progress.run(1).unwrap().counts(),
    }
}

#[test]
fn what_was_never_seen_has_no_end_but_an_at_least() {
    let estimate = estimate(&run(600, &[]), &[], &Between::exactly(1.0));
    assert_eq!((estimate.eta.seconds, estimate.eta.max_seconds, estimate.eta.at), (None, None, None));
    assert!(estimate.eta.min_seconds > 560.0 && estimate.eta.min_seconds <= 600.0, "{:?}", estimate.eta);
    assert_eq!(estimate.eta.text, "at least 10 min: `readings` was not seen yet");
    assert_eq!(estimate.steps[1].1.max, None);
}

#[test]
fn calls_to_come_are_those_that_wait_and_what_they_lead_to() {
    let estimate = estimate(&run(200, &[10; 100]), &[], &Between::exactly(1.0));
    // 100 groups and 900 readings wait; 1,000 more come.
    let calls = estimate.eta.calls;
    assert!((1_980..2_050).contains(&calls.likely), "{calls:?}");
    assert!(calls.min >= 1_000 && calls.max.unwrap() < 2_900, "{calls:?}");
    let readings = estimate.steps[1].1;
    assert!(readings.min <= 2_000 && 2_000 <= readings.max.unwrap(), "{readings:?}");
    let seconds = estimate.eta.seconds.unwrap();
    assert!((seconds - calls.likely as f64).abs() < 5.0, "{seconds}");
}

#[test]
fn an_earlier_run_is_believed_at_first_and_less_the_more_is_seen() {
    let history = [over(1, &run(100, &[10; 100]))];
    let at = |answered: &[usize]| {
        let estimate = estimate(&run(100, answered), &history, &Between::exactly(1.0));
        let (calls, max) = (estimate.eta.calls.likely as f64, estimate.eta.calls.max.unwrap() as f64);
        let groups = 100.0 - answered.len() as f64;
        let readings = answered.iter().map(|made| made - 1).sum::<usize>() as f64;
        ((calls - groups - readings) / groups, max)
    };
    let (fan, max) = at(&[]);
    assert!((9.0..11.5).contains(&fan), "{fan}");
    assert!(max < 3_000.0, "{max}");
    // This time there are twice as many.
    assert!(at(&[20; 5]).0 < at(&[20; 50]).0);
    let (fan, _) = at(&[20; 50]);
    assert!(fan > 12.0, "{fan}");
}

#[test]
fn runs_that_were_not_complete_or_of_other_tenants_say_nothing() {
    let mut cancelled = over(1, &run(100, &[10; 100]));
    cancelled.state = State::Cancelled;
    let mut others = over(2, &run(100, &[10; 100]));
    others.tenants = Some(vec!["acme".to_owned()]);
    assert!(Prior::of(&[cancelled, others], None).runs().is_empty());
}

#[test]
fn a_dry_run_says_what_it_rests_on() {
    let roots: Vec<Task> = (0..100).map(|_| task("group", "")).collect();
    let allowance = Between::exactly(10.0);
    let first = dry_run(&[], None, steps(), &roots, supply(&allowance), Timestamp(0));
    assert_eq!(first.eta.seconds, None);
    assert_eq!(first.rests_on.text, "no run was complete yet: only the first calls are known");
    let history: Vec<Run> = (1..=3).map(|number| over(number, &run(100, &[10; 100]))).collect();
    let again = dry_run(&history, None, steps(), &roots, supply(&allowance), Timestamp(0));
    assert_eq!(again.rests_on.runs, [1, 2, 3]);
    assert!((1_050..1_200).contains(&again.eta.calls.likely), "{:?}", again.eta);
    assert!((again.eta.seconds.unwrap() - 112.0).abs() < 10.0, "{:?}", again.eta);
    assert_eq!(again.steps[0].tasks.likely, 100);
    // Three runs that were alike: a narrower range than one that may have been a chance.
    let one = dry_run(&history[..1], None, steps(), &roots, supply(&allowance), Timestamp(0));
    assert!(again.eta.max_seconds < one.eta.max_seconds);
}

#[test]
fn the_order_in_which_pages_are_called_does_not_change_what_is_expected() {
    // 100 lists of two pages: all first pages first, or each list to its end.
    let counts = |calls: [u64; 2], went_on: [u64; 2]| {
        let mut pages = [Pages::default(); PAGE_CLASSES];
        for class in 0..2 {
            pages[class] = Pages { calls: calls[class], went_on: went_on[class] };
        }
        let further = went_on.iter().sum();
        crate::progress::Counts { made: 100, further, done: calls.iter().sum(), pages, ..Default::default() }
    };
    let expected = |counts: &crate::progress::Counts| {
        let lists = lists::Lists::of(&StepProgress::of("list", counts.clone()), None);
        lists.open_worth(&lists.worth(1.0, 1.0)) + counts.done as f64
    };
    let first_pages_first = expected(&counts([100, 20], [100, 0]));
    let lists_to_their_end = expected(&counts([60, 60], [60, 0]));
    assert!((first_pages_first - 200.0).abs() < 8.0, "{first_pages_first}");
    assert!((lists_to_their_end - 200.0).abs() < 8.0, "{lists_to_their_end}");
}

#[test]
fn a_small_tenant_ends_at_its_fair_time_and_not_behind_a_large_one() {
    let tasks = |tenant: &str, count: usize| (0..count).map(|_| task("readings", tenant)).collect::<Vec<_>>();
    let roots: Vec<Task> = tasks("small", 50).into_iter().chain(tasks("large", 50_000)).collect();
    let mut progress = Progress::default();
    let steps = vec![Step { resource: "readings".to_owned(), parent: None }];
    progress.apply(SequenceNumber(0), &Event::started(1, Timestamp(0), steps, &roots));
    // One page each, as 1,000 calls have shown.
    let mut counted = Counted::new(1, Timestamp(1_000));
    for _ in 0..1_000 {
        counted.redriven(&task("readings", "large"));
        counted.answered(&task("readings", "large"), Brought { further: Further::Last, ..Brought::default() }, &[]);
    }
    progress.apply(SequenceNumber(1), &Event::Counted(counted));
    let (allowance, prior) = (Between::exactly(100.0), Prior::default());
    let mut supply = supply(&allowance);
    supply.retry_delay = Duration::ZERO;
    let estimator = Estimator { prior: &prior, supply, now: Timestamp(0) };
    let run = progress.run(1).unwrap();
    let etas = estimator.tenants(run, &["large", "small", "nobody"], |_| 1.0);
    let [large, small] = [0, 1].map(|index: usize| etas[index].seconds.unwrap());
    // 50 of each take turns: 100 calls at 100/s.
    assert!((small - 1.0).abs() < 0.05, "{small}");
    assert!((large - 500.5).abs() < 5.0, "{large}");
    assert_eq!(etas[2].calls.likely, 0);
    let heavy = |name: &str| if name == "small" { 4.0 } else { 1.0 };
    let small = estimator.tenants(run, &["small"], heavy)[0].seconds.unwrap();
    assert!((small - 0.625).abs() < 0.05, "{small}");
}

#[test]
fn while_the_vendor_is_down_there_is_no_bound() {
    let progress = run(100, &[10; 90]);
    let (allowance, prior) = (Between::exactly(10.0), Prior::default());
    let supply = Supply { vendor: Vendor::Down, ..supply(&allowance) };
    let eta = Estimator { prior: &prior, supply, now: Timestamp(0) }.run(progress.run(1).unwrap()).eta;
    assert_eq!(eta.max_seconds, None);
    assert!(eta.text.ends_with(", from when the vendor is back"), "{}", eta.text);
}

#[test]
fn without_a_limit_only_what_was_delivered_says_how_long_it_takes() {
    assert_eq!(estimate(&run(100, &[10; 2]), &[], &Unlimited).eta.seconds, None);
    // Two calls a second came.
    let seen = estimate(&run(100, &[10; 90]), &[], &Unlimited).eta;
    assert!((seen.seconds.unwrap() - seen.calls.likely as f64 / 2.0).abs() < 5.0, "{seen:?}");
    let never = Between { likely: 0.0, min: 0.0, max: 0.0 };
    let never = estimate(&run(100, &[10; 90]), &[], &never).eta;
    assert_eq!((never.seconds, never.max_seconds), (None, None));
    assert!(serde_json::to_string(&never).is_ok());
}

#[test]
fn an_estimate_reads_as_people_say_it() {
    let cases = [
        (240.0, 180.0, Some(360.0), "about 4 min (3 to 6)"),
        (240.0, 50.0, Some(360.0), "about 4 min (50 s to 6 min)"),
        (240.0, 239.0, Some(241.0), "about 4 min"),
        (8.2, 7.9, Some(8.3), "about 8 s"),
        (4_800.0, 3_600.0, Some(7_200.0), "about 80 min (60 min to 2 h)"),
        (20.0, 10.0, None, "about 20 s, at least 10 s"),
        (0.0, 0.0, Some(0.0), "about 0 s"),
    ];
    for (seconds, min, max, text) in cases {
        assert_eq!(words::about(seconds, min, max), text);
    }
    assert_eq!(words::at_least(5.0, &["a", "b", "c"]), "at least 5 s: `a` and 2 more were not seen yet");
}
