use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use weir_machine::{At, Machine};
use weir_types::{SequenceNumber, Timestamp};

use super::*;
use crate::progress::Counts;

fn at(time: i64) -> At {
    At { sequence: SequenceNumber(0), time: Timestamp(time) }
}

fn asked(overlap: Overlap) -> Start {
    Start { crawl: "devices".to_owned(), by: By::Hand, params: BTreeMap::new(), tenants: None, request: None, overlap }
}

fn start(runs: &mut Runs, time: i64, overlap: Overlap) -> Outcome {
    runs.apply(at(time), Command::Start(asked(overlap)))
}

fn change(runs: &mut Runs, time: i64, run: u64, change: Change) -> Outcome {
    runs.apply(at(time), Command::Change { crawl: "devices".to_owned(), run, change })
}

fn complete(cursor: i64) -> Change {
    let counts = BTreeMap::from([("device".to_owned(), Counts { done: 3, ..Counts::default() })]);
    let cursors = BTreeMap::from([("device".to_owned(), BTreeMap::from([("acme".to_owned(), json!(cursor))]))]);
    Change::Complete { counts, cursors }
}

fn crawl(runs: &Runs) -> &CrawlRuns {
    runs.crawl("devices").unwrap()
}

fn number(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Started(run) | Outcome::Queued { run, .. } | Outcome::Replaces { run, .. } => Some(run.number),
        _ => None,
    }
}

#[test]
fn a_run_that_is_due_too_early_is_skipped_queued_or_replaces_the_other() {
    let mut runs = Runs::default();
    assert_eq!(number(&start(&mut runs, 1, Overlap::Skip)), Some(1));
    assert_eq!(start(&mut runs, 2, Overlap::Skip), Outcome::Skipped { under_way: 1, waiting: None });
    let queued = start(&mut runs, 3, Overlap::Queue);
    assert!(matches!(&queued, Outcome::Queued { run, behind: 1 } if run.number == 2 && run.state == State::Waiting));
    assert_eq!(start(&mut runs, 4, Overlap::Queue), Outcome::Skipped { under_way: 1, waiting: Some(2) });
    assert_eq!(crawl(&runs).skipped(), 2);

    let Outcome::Ended { run, next } = change(&mut runs, 5, 1, complete(7)) else { panic!("it was under way") };
    assert_eq!((run.state, run.ended_at, run.counts["device"].done), (State::Complete, Some(Timestamp(5)), 3));
    let next = next.unwrap();
    assert_eq!((next.number, next.state, next.started_at), (2, State::Running, Some(Timestamp(5))));
    assert_eq!(next.starts["device"]["acme"], json!(7));

    let Outcome::Replaces { run, cancelling: 2 } = start(&mut runs, 6, Overlap::Replace) else {
        panic!("2 is under way")
    };
    assert_eq!((run.number, run.state), (3, State::Waiting));
    assert_eq!(crawl(&runs).active().unwrap().state, State::Cancelling);
    assert_eq!(crawl(&runs).active().unwrap().reason.as_deref(), Some("replaced by run 3"));
    // One that waits is replaced as well.
    assert!(
        matches!(start(&mut runs, 7, Overlap::Replace), Outcome::Replaces { run, cancelling: 2 } if run.number == 4)
    );
    assert_eq!(crawl(&runs).run(3).unwrap().state, State::Cancelled);
    let counts = BTreeMap::new();
    let Outcome::Ended { next, .. } = change(&mut runs, 8, 2, Change::Cancelled { counts }) else {
        panic!("2 was ending")
    };
    assert_eq!(next.unwrap().number, 4);
}

#[test]
fn pausing_keeps_the_place_and_its_time_is_counted() {
    let mut runs = Runs::default();
    start(&mut runs, 1, Overlap::Skip);
    assert!(matches!(change(&mut runs, 2, 1, Change::Resume), Outcome::NotInState(run) if run.state == State::Running));
    assert!(matches!(change(&mut runs, 10, 1, Change::Pause), Outcome::Changed(run) if run.state == State::Paused));
    assert!(matches!(change(&mut runs, 11, 1, Change::Pause), Outcome::NotInState(_)));
    // A run that is paused holds the crawl.
    assert!(matches!(start(&mut runs, 12, Overlap::Skip), Outcome::Skipped { under_way: 1, .. }));
    assert!(matches!(change(&mut runs, 30, 1, Change::Resume), Outcome::Changed(run) if run.paused_ms == 20));
    assert!(matches!(change(&mut runs, 31, 9, Change::Pause), Outcome::NoRun));
}

#[test]
fn cancelling_ends_by_what_the_marker_says() {
    let cancel = || Change::Cancel { reason: Some("too slow".to_owned()) };
    let mut runs = Runs::default();
    start(&mut runs, 1, Overlap::Skip);
    assert!(matches!(change(&mut runs, 2, 1, Change::Cancelled { counts: BTreeMap::new() }), Outcome::NotInState(_)));
    assert!(matches!(change(&mut runs, 3, 1, cancel()), Outcome::Changed(run) if run.state == State::Cancelling));
    assert!(matches!(change(&mut runs, 3, 1, cancel()), Outcome::NotInState(_)));
    // It was complete before it could be cancelled.
    assert!(matches!(
        change(&mut runs, 4, 1, complete(5)),
        Outcome::Ended { run, next: None } if run.state == State::Complete && run.reason.is_none()
    ));
    assert!(matches!(change(&mut runs, 5, 1, cancel()), Outcome::NotInState(run) if run.state == State::Complete));

    start(&mut runs, 6, Overlap::Skip);
    start(&mut runs, 7, Overlap::Queue);
    let waiting = change(&mut runs, 8, 3, cancel());
    assert!(matches!(waiting, Outcome::Ended { run, next: None } if run.state == State::Cancelled && run.number == 3));
    assert_eq!(crawl(&runs).active().unwrap().number, 2);
}

#[test]
fn cursors_come_from_complete_runs_only_and_can_be_rewound() {
    let mut runs = Runs::default();
    start(&mut runs, 1, Overlap::Skip);
    change(&mut runs, 2, 1, complete(10));
    start(&mut runs, 3, Overlap::Skip);
    let fail = Change::Fail { reason: "x".repeat(REASON_BYTES_MAX * 2), counts: BTreeMap::new() };
    let Outcome::Ended { run, .. } = change(&mut runs, 4, 2, fail) else { panic!("it was under way") };
    assert_eq!((run.state, run.reason.unwrap().len()), (State::Failed, REASON_BYTES_MAX));
    assert_eq!(crawl(&runs).cursors()["device"]["acme"], json!(10));
    runs.apply(at(5), Command::Rewind { crawl: "devices".to_owned(), resource: Some("device".to_owned()) });
    start(&mut runs, 6, Overlap::Skip);
    assert!(crawl(&runs).active().unwrap().starts.is_empty());
}

#[test]
fn cursors_are_bounded_in_number_and_size() {
    let mut runs = Runs::default();
    start(&mut runs, 1, Overlap::Skip);
    let mut tenants: BTreeMap<_, _> =
        (0..CURSORS_MAX + 10).map(|tenant| (format!("{tenant:06}"), json!(tenant))).collect();
    tenants.insert("0".to_owned(), json!("x".repeat(CURSOR_BYTES_MAX)));
    let cursors = BTreeMap::from([("device".to_owned(), tenants)]);
    change(&mut runs, 2, 1, Change::Complete { counts: BTreeMap::new(), cursors });
    assert_eq!(crawl(&runs).cursors()["device"].len(), CURSORS_MAX);
    assert!(!crawl(&runs).cursors()["device"].contains_key("0"));
}

#[test]
fn a_time_of_a_schedule_starts_one_run_whatever_is_asked_again() {
    let mut runs = Runs::default();
    let scheduled = |time| Command::Start(Start { by: By::Schedule(Timestamp(time)), ..asked(Overlap::Skip) });
    runs.apply(at(1), Command::Seen { crawl: "devices".to_owned(), time: Timestamp(100) });
    assert_eq!(runs.apply(at(2), scheduled(100)), Outcome::Past { seen: Timestamp(100) });
    assert_eq!(number(&runs.apply(at(3), scheduled(200))), Some(1));
    assert_eq!(runs.apply(at(4), scheduled(200)), Outcome::Past { seen: Timestamp(200) });
    // One that is left out is past too.
    assert!(matches!(runs.apply(at(5), scheduled(300)), Outcome::Skipped { .. }));
    assert_eq!(runs.apply(at(6), scheduled(300)), Outcome::Past { seen: Timestamp(300) });
    // Time that goes back changes nothing.
    runs.apply(at(7), Command::Seen { crawl: "devices".to_owned(), time: Timestamp(5) });
    assert_eq!((crawl(&runs).seen(), crawl(&runs).skipped()), (Some(Timestamp(300)), 1));
}

#[test]
fn a_start_that_is_sent_again_is_the_same_run() {
    let mut runs = Runs::default();
    let ask = || Command::Start(Start { request: Some("r-1".to_owned()), ..asked(Overlap::Queue) });
    assert_eq!(number(&runs.apply(at(1), ask())), Some(1));
    assert!(matches!(runs.apply(at(2), ask()), Outcome::Known(run) if run.number == 1));
    change(&mut runs, 3, 1, complete(1));
    assert!(matches!(runs.apply(at(4), ask()), Outcome::Known(run) if run.state == State::Complete));
}

#[test]
fn a_crawl_that_is_forgotten_does_not_use_its_numbers_again() {
    let mut runs = Runs::default();
    let forget = || Command::Forget { crawl: "devices".to_owned() };
    assert_eq!(runs.apply(at(1), forget()), Outcome::NoRun);
    start(&mut runs, 1, Overlap::Skip);
    assert_eq!(runs.apply(at(2), forget()), Outcome::UnderWay(1));
    change(&mut runs, 3, 1, complete(1));
    assert_eq!(runs.apply(at(4), forget()), Outcome::Done);
    assert!(runs.crawl("devices").is_none());
    assert_eq!(number(&start(&mut runs, 5, Overlap::Skip)), Some(2));
    assert!(crawl(&runs).active().unwrap().starts.is_empty());
}

#[test]
fn what_is_too_large_is_refused_and_leaves_no_trace() {
    let mut runs = Runs::default();
    let params = BTreeMap::from([("p".to_owned(), "x".repeat(PARAMS_BYTES_MAX))]);
    let large = Start { params, ..asked(Overlap::Skip) };
    assert!(matches!(runs.apply(at(1), Command::Start(large)), Outcome::TooLarge(what) if what.contains("params")));
    let tenants = Some(vec![String::new(); TENANTS_NAMED_MAX + 1]);
    let many = Start { tenants, ..asked(Overlap::Skip) };
    assert!(matches!(runs.apply(at(1), Command::Start(many)), Outcome::TooLarge(what) if what.contains("tenants")));
    assert_eq!(runs, Runs::default());
}

#[test]
fn a_snapshot_of_a_later_weir_is_refused() {
    let bytes = br#"{"version":2,"runs":{"crawls":{}}}"#;
    assert!(Runs::restore(bytes).unwrap_err().to_string().contains("version 2"));
}

fn overlap() -> impl Strategy<Value = Overlap> {
    prop_oneof![Just(Overlap::Skip), Just(Overlap::Queue), Just(Overlap::Replace)]
}

fn command() -> impl Strategy<Value = Command> {
    let name = || prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    let by = prop_oneof![Just(By::Hand), (0..50i64).prop_map(|time| By::Schedule(Timestamp(time)))];
    let request = prop::option::weighted(0.2, (0..5u8).prop_map(|id| id.to_string()));
    let starts = (name(), by, overlap(), request).prop_map(|(crawl, by, overlap, request)| {
        Command::Start(Start { crawl, by, params: BTreeMap::new(), tenants: None, request, overlap })
    });
    let counts = || BTreeMap::from([("r".to_owned(), Counts { done: 1, ..Counts::default() })]);
    let changes = prop_oneof![
        Just(Change::Pause),
        Just(Change::Resume),
        Just(Change::Cancel { reason: None }),
        (0..9i64).prop_map(complete),
        Just(Change::Cancelled { counts: counts() }),
        Just(Change::Fail { reason: "why".to_owned(), counts: counts() }),
    ];
    prop_oneof![
        4 => starts,
        6 => (name(), 0..12u64, changes).prop_map(|(crawl, run, change)| Command::Change { crawl, run, change }),
        1 => (name(), 0..50i64).prop_map(|(crawl, time)| Command::Seen { crawl, time: Timestamp(time) }),
        1 => name().prop_map(|crawl| Command::Rewind { crawl, resource: None }),
        1 => name().prop_map(|crawl| Command::Forget { crawl }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_one_run_is_active_numbers_rise_and_what_is_over_stays(
        commands in prop::collection::vec(command(), 1..120),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut runs = Runs::default();
        let mut highest = BTreeMap::<String, u64>::new();
        let mut times = BTreeMap::<(String, i64), u64>::new();
        let mut over = BTreeMap::<(String, u64), Run>::new();
        let cut = cut.index(commands.len());
        for (step, command) in commands.into_iter().enumerate() {
            let stored = serde_json::to_vec(&command).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Command>(&stored).unwrap(), &command);
            let outcome = runs.apply(at(step as i64), command.clone());
            if let (Some(number), Command::Start(start)) = (number(&outcome), &command) {
                let highest = highest.entry(start.crawl.clone()).or_default();
                prop_assert!(number > *highest);
                *highest = number;
                if let By::Schedule(time) = start.by {
                    let fired = times.entry((start.crawl.clone(), time.0)).or_default();
                    *fired += 1;
                    prop_assert_eq!(*fired, 1);
                }
            }
            if let Command::Forget { crawl } = &command {
                over.retain(|(name, _), _| name != crawl || runs.crawl(name).is_some());
                times.retain(|(name, _), _| name != crawl || runs.crawl(name).is_some());
            }
            for (name, crawl) in runs.crawls() {
                prop_assert!(crawl.active().is_none_or(|run| run.state.is_active()));
                prop_assert!(crawl.waiting().is_none() || crawl.active().is_some());
                prop_assert!(crawl.waiting().is_none_or(|run| run.state == State::Waiting));
                prop_assert!(crawl.history().iter().all(|run| run.state.is_over() && run.ended_at.is_some()));
                prop_assert!(crawl.history().len() <= HISTORY_MAX);
                for run in crawl.history() {
                    let known = over.entry((name.to_owned(), run.number)).or_insert_with(|| run.clone());
                    prop_assert_eq!(&*known, run);
                }
            }
            if step == cut {
                let restored = Runs::restore(&runs.snapshot()).unwrap();
                prop_assert_eq!(&restored, &runs);
                runs = restored;
            }
        }
    }
}

#[test]
fn the_history_keeps_the_newest_runs() {
    let mut runs = Runs::default();
    for run in 1..=(HISTORY_MAX as u64 + 5) {
        start(&mut runs, 1, Overlap::Skip);
        change(&mut runs, 2, run, complete(1));
    }
    let history = crawl(&runs).history();
    assert_eq!((history.len(), history[0].number), (HISTORY_MAX, 6));
}
