use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use weir_types::{SequenceNumber, Timestamp};

use super::*;
use crate::Task;

fn task(run: u64, resource: &str, tenant: &str) -> Task {
    Task {
        run,
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
    vec![step("group", None), step("device", Some("group")), step("readings", Some("device"))]
}

fn started(run: u64) -> Event {
    Event::started(run, Timestamp(1_000), steps(), [&task(run, "group", "")])
}

fn ended(run: u64) -> Event {
    Event::Ended { run, at: Timestamp(9_000), how: End::Complete }
}

/// What may become of a task.
#[derive(Debug, Clone)]
enum Deed {
    Answered { resource: usize, tenant: u8, page: u64, children: Vec<u8>, further: bool, cursor: Option<i64> },
    Retried { resource: usize, tenant: u8 },
    Throttled { resource: usize, tenant: u8, calls: u64 },
    Failed { resource: usize, tenant: u8 },
    Dead { resource: usize, tenant: u8, called: bool },
    Dropped { resource: usize, tenant: u8 },
    Redriven { resource: usize, tenant: u8 },
}

const NAMES: [&str; 3] = ["group", "device", "readings"];

fn tenant(number: u8) -> String {
    if number == 0 { String::new() } else { format!("tenant {number}") }
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = || (0..3usize, 0..4u8);
    prop_oneof![
        4 => (place(), 0..40u64, prop::collection::vec(0..4u8, 0..5), any::<bool>(), prop::option::of(any::<i64>())).prop_map(
            |((resource, tenant), page, children, further, cursor)| Deed::Answered {
                resource, tenant, page, children, further, cursor
            }
        ),
        1 => place().prop_map(|(resource, tenant)| Deed::Retried { resource, tenant }),
        1 => (place(), 0..9u64).prop_map(|((resource, tenant), calls)| Deed::Throttled { resource, tenant, calls }),
        1 => place().prop_map(|(resource, tenant)| Deed::Failed { resource, tenant }),
        1 => (place(), any::<bool>()).prop_map(|((resource, tenant), called)| Deed::Dead { resource, tenant, called }),
        1 => place().prop_map(|(resource, tenant)| Deed::Dropped { resource, tenant }),
        1 => place().prop_map(|(resource, tenant)| Deed::Redriven { resource, tenant }),
    ]
}

impl Deed {
    /// Counts it, and returns by how much the open tasks change.
    fn count(&self, counted: &mut Counted) -> i64 {
        let of = |resource: &usize, number: &u8| task(1, NAMES[*resource], &tenant(*number));
        match self {
            Self::Answered { resource, tenant: number, page, children, further, cursor } => {
                let task = Task { pages: *page, ..of(resource, number) };
                let children: Vec<Task> = match NAMES.get(resource + 1) {
                    Some(below) => children.iter().map(|number| self::task(1, below, &tenant(*number))).collect(),
                    None => Vec::new(),
                };
                let cursor = cursor.map(Value::from);
                let further = if *further { Further::Page } else { Further::Last };
                let brought = Brought { items: 3, further, cursor: cursor.as_ref(), latency: Duration::from_millis(7) };
                counted.answered(&task, brought, &children);
                children.len() as i64 + i64::from(further == Further::Page) - 1
            }
            Self::Retried { resource, tenant } => {
                counted.retried(&of(resource, tenant));
                0
            }
            Self::Throttled { resource, tenant, calls } => {
                counted.throttled(&of(resource, tenant), *calls);
                0
            }
            Self::Failed { resource, tenant } => {
                counted.failed(&of(resource, tenant));
                0
            }
            Self::Dead { resource, tenant, called: true } => {
                counted.dead(&of(resource, tenant));
                -1
            }
            Self::Dead { resource, tenant, called: false } => {
                counted.dead_uncalled(&of(resource, tenant));
                -1
            }
            Self::Dropped { resource, tenant } => {
                counted.dropped(&of(resource, tenant));
                -1
            }
            Self::Redriven { resource, tenant } => {
                counted.redriven(&of(resource, tenant));
                1
            }
        }
    }
}

fn counted(deeds: &[Deed], at: i64) -> (Counted, i64) {
    let mut counted = Counted::new(1, Timestamp(at));
    let open = deeds.iter().map(|deed| deed.count(&mut counted)).sum();
    (counted, open)
}

/// What must be the same however events are cut: all but the order in which things were seen.
fn sums(progress: &Progress) -> Value {
    let run = progress.run(1).unwrap();
    let tenants: BTreeMap<_, _> = run.tenants().iter().map(|(name, tenant)| (name, tenant.totals())).collect();
    json!([run.counts(), tenants, progress.open_tasks(1), run.cursors().0])
}

proptest! {
    #[test]
    fn events_read_back_as_they_were_written(deeds in prop::collection::vec(deed(), 0..30), run in any::<u64>(), at in any::<i64>()) {
        let (mut counted, _) = counted(&deeds, at);
        counted.run = run;
        for event in [started(run), Event::Counted(counted), ended(run)] {
            prop_assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        }
    }

    #[test]
    fn bytes_that_are_no_event_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Event::decode(&bytes);
        prop_assert!(Progress::restore(&bytes).is_err());
    }

    #[test]
    fn open_tasks_are_exact_and_the_same_however_tasks_are_merged(
        deeds in prop::collection::vec(deed(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        // First as many as will ever end, so that no count goes below zero.
        let roots: Vec<Task> = NAMES.iter().flat_map(|name| (0..4).map(move |number| task(1, name, &tenant(number)))).collect();
        let roots: Vec<&Task> = roots.iter().cycle().take(12 * deeds.len()).collect();
        let mut begin = Progress::default();
        begin.apply(SequenceNumber(0), &Event::started(1, Timestamp(0), steps(), roots.iter().copied()));

        let (all, change) = counted(&deeds, 5);
        let mut whole = begin.clone();
        whole.apply(SequenceNumber(1), &Event::Counted(all.clone()));
        prop_assert_eq!(whole.open_tasks(1), Some((roots.len() as i64 + change) as u64));
        let of_tenants: u64 = whole.run(1).unwrap().tenants().values().map(|tenant| tenant.totals().waiting).sum();
        prop_assert!(of_tenants <= whole.open_tasks(1).unwrap());

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(deeds.len())).collect();
        cuts.extend([0, deeds.len()]);
        cuts.sort_unstable();
        let (mut parts, mut merged) = (begin, Counted::new(1, Timestamp(5)));
        for (place, cut) in cuts.windows(2).enumerate() {
            let (part, _) = counted(&deeds[cut[0]..cut[1]], 5);
            merged.merge(&part);
            parts.apply(SequenceNumber(place as u64 + 1), &Event::Counted(part));
        }
        prop_assert_eq!(sums(&parts), sums(&whole));
        prop_assert_eq!(merged, all);
    }

    #[test]
    fn an_event_counts_once_and_a_snapshot_goes_on_as_if_nothing_had_been(
        events in prop::collection::vec(prop::collection::vec(deed(), 0..8), 1..12),
        at in any::<prop::sample::Index>(),
        again in 0..4usize,
    ) {
        let mut events: Vec<Event> =
            events.iter().enumerate().map(|(index, deeds)| Event::Counted(counted(deeds, 1_000 * index as i64).0)).collect();
        events.insert(0, started(1));
        let mut once = Progress::default();
        let mut twice = Progress::default();
        let cut = at.index(events.len());
        for (place, event) in events.iter().enumerate() {
            once.apply(SequenceNumber(place as u64), event);
            twice.apply(SequenceNumber(place as u64), event);
            for back in 0..again.min(place + 1) {
                twice.apply(SequenceNumber((place - back) as u64), &events[place - back]);
            }
            if place == cut {
                twice = Progress::restore(&twice.snapshot()).unwrap();
            }
        }
        prop_assert_eq!(once.next(), SequenceNumber(events.len() as u64));
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn a_snapshot_that_was_changed_is_refused() {
    let mut progress = Progress::default();
    progress.apply(SequenceNumber(3), &started(1));
    let bytes = progress.snapshot();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Progress::restore(&damaged).is_err(), "byte {at}");
    }
    assert!(Progress::restore(&bytes[..bytes.len() - 1]).is_err());
    let mut later = bytes;
    later[4] = 2;
    assert!(matches!(Progress::restore(&later), Err(SnapshotError::Version { found: 2 })));
}

#[test]
fn an_event_of_a_later_weir_is_refused_by_its_version() {
    let mut bytes = started(1).encode();
    bytes[0] = b'2';
    assert!(matches!(Event::decode(&bytes), Err(EventError::Version { found: b'2' })));
    assert!(matches!(Event::decode(b""), Err(EventError::Empty)));
    assert!(matches!(Event::decode(b"1{"), Err(EventError::Json(_))));
}

#[test]
fn a_run_is_complete_when_made_is_ended_and_not_before() {
    let mut progress = Progress::default();
    assert_eq!(progress.open_tasks(1), None);
    progress.apply(SequenceNumber(0), &started(1));
    assert_eq!(progress.open_tasks(1), Some(1));
    let devices = [task(1, "device", ""), task(1, "device", "")];
    let mut counted = Counted::new(1, Timestamp(2_000));
    counted.answered(
        &task(1, "group", ""),
        Brought { items: 2, further: Further::Page, ..Brought::default() },
        &devices,
    );
    progress.apply(SequenceNumber(1), &Event::Counted(counted));
    assert_eq!(progress.open_tasks(1), Some(3));
    let mut counted = Counted::new(1, Timestamp(3_000));
    counted.answered(&Task { pages: 1, ..task(1, "group", "") }, Brought::default(), &[]);
    counted.retried(&devices[0]);
    counted.dead(&devices[0]);
    progress.apply(SequenceNumber(2), &Event::Counted(counted));
    assert_eq!(progress.open_tasks(1), Some(1));
    let mut counted = Counted::new(1, Timestamp(4_000));
    counted.answered(&devices[1], Brought::default(), &[]);
    progress.apply(SequenceNumber(3), &Event::Counted(counted));
    assert_eq!(progress.open_tasks(1), Some(0));
    let totals = progress.run(1).unwrap().totals();
    assert_eq!((totals.tasks, totals.done, totals.failed, totals.retried, totals.calls), (4, 3, 1, 1, 5));
    progress.apply(SequenceNumber(4), &ended(1));
    assert_eq!(progress.run(1).unwrap().ended(), Some((End::Complete, Timestamp(9_000))));
}

#[test]
fn runs_that_are_over_are_forgotten_but_those_under_way_are_not() {
    let mut progress = Progress::default();
    let mut place = 0;
    let mut apply = |progress: &mut Progress, event: &Event| {
        progress.apply(SequenceNumber(place), event);
        place += 1;
    };
    apply(&mut progress, &started(1));
    for run in 2..20 {
        apply(&mut progress, &started(run));
        apply(&mut progress, &ended(run));
    }
    let known: Vec<u64> = progress.runs().map(|(run, _)| run).collect();
    assert_eq!(known.len(), RUNS_KEPT + 1);
    assert_eq!((known[0], *known.last().unwrap()), (1, 19));
    // What comes for a run that was forgotten opens nothing.
    apply(&mut progress, &Event::Counted(Counted::new(2, Timestamp(0))));
    assert_eq!(progress.open_tasks(2), None);
}

#[test]
fn tenants_beyond_those_that_are_kept_are_summed_and_nothing_is_lost() {
    let extra = 7;
    let all = TENANTS_KEPT_MAX + extra;
    let mut counted = Counted::new(1, Timestamp(2_000));
    for number in 0..all {
        let task = task(1, "group", &format!("{number:06}"));
        let cursor = Value::from(number);
        counted.redriven(&task);
        counted.answered(&task, Brought { items: 2, cursor: Some(&cursor), ..Brought::default() }, &[]);
    }
    let mut progress = Progress::default();
    progress.apply(SequenceNumber(0), &started(1));
    progress.apply(SequenceNumber(1), &Event::Counted(counted));
    let run = progress.run(1).unwrap();
    assert_eq!(run.tenants().len(), TENANTS_KEPT_MAX);
    let others = run.other_tenants().unwrap();
    assert_eq!((others.done, others.items), (extra as u64, 2 * extra as u64));
    assert_eq!((run.totals().done, run.totals().items, progress.open_tasks(1)), (all as u64, 2 * all as u64, Some(1)));
    let (cursors, left_out) = run.cursors();
    assert_eq!(cursors["group"].len() as u64 + left_out, all as u64);
    assert_eq!(Progress::restore(&progress.snapshot()).unwrap(), progress);
}

#[test]
fn rates_follow_what_came_lately() {
    let mut recent = Recent::default();
    assert_eq!(recent.per_second(Timestamp(5)), 0.0);
    for second in 0..60 {
        recent.add(Timestamp(second * 1_000), 50);
    }
    let rate = recent.per_second(Timestamp(59_500));
    assert!((rate - 50.0).abs() < 2.0, "{rate}");
    assert!(recent.per_second(Timestamp(120_000)) < 0.2);
    // A clock that jumps back neither loses nor multiplies what was counted.
    recent.add(Timestamp(10_000), 50);
    assert!(recent.per_second(Timestamp(60_000)) < 60.0);
}

#[test]
fn the_pace_that_was_delivered_leaves_an_outage_out() {
    let mut delivered = Delivered::default();
    let calls = |answered: u64, failed: u64| Counts { answered, failed, ..Counts::default() };
    let mut at = 0;
    for _ in 0..30 {
        at += 1_000;
        delivered.add(Timestamp(at), &calls(100, 2));
    }
    let before = delivered.pace().unwrap();
    assert!((before.per_second - 102.0).abs() < 1.0 && before.error < 0.01, "{before:?}");
    for _ in 0..60 {
        at += 1_000;
        delivered.add(Timestamp(at), &calls(0, 1));
    }
    assert_eq!(delivered.pace().map(|pace| pace.per_second), Some(before.per_second));
    for _ in 0..30 {
        at += 1_000;
        delivered.add(Timestamp(at), &calls(50, 1));
    }
    assert!((delivered.pace().unwrap().per_second - 51.0).abs() < 1.0);
}

#[test]
fn alike_neighbours_make_a_design_effect_and_strangers_do_not() {
    let strangers = |call: u64| (call * 7) % 10;
    let alike = |call: u64| (call / 400 * 7) % 10;
    let effect = |made: &dyn Fn(u64) -> u64| {
        let mut fan = Fan::default();
        (0..8_000).for_each(|call| fan.add(1, made(call)));
        assert!(fan.batches() < 32);
        fan.design_effect(8.25)
    };
    assert!(effect(&strangers) < 2.0, "{}", effect(&strangers));
    assert!(effect(&alike) > 50.0, "{}", effect(&alike));
}
