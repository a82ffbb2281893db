//! Each planted fault is found, where it was planted.

use weir_types::Hour;

use super::world::{LOG, World};
use crate::{
    ArchivedHour, Choice, Command, DoorCounts, Fault, FunctionCounts, FunctionHours, Hop, Reached, Wrong, balance,
};

/// A world with 100 records, all read in four commits.
fn world() -> World {
    let mut world = World::new(11);
    world.append(100);
    world.stream(100);
    for to in [10, 50, 60, 100] {
        world.commit(to);
    }
    world.assert_even(11);
    world
}

#[test]
fn records_that_are_passed_over_are_named() {
    let mut world = world();
    world.append(20);
    world.stream(120);
    let (mut commit, _) = world.next_commit(110);
    // The reader jumps over ten records.
    commit.from = 110;
    world.commits.push(commit);
    world.commits.last_mut().unwrap().places.clear();
    let (commit, mut entry) = world.next_commit(120);
    world.commits.pop();
    entry.number = 5;
    world.submit(Command::Prepared(entry));
    world.commits.push(commit);
    let findings = world.balance().findings;
    assert!(!findings.is_empty());
    let mut named: Vec<u64> = Vec::new();
    for finding in &findings {
        assert_eq!((finding.hop, finding.name.as_str(), finding.fault), (Hop::Table, "flights", Fault::Skipped));
        assert_eq!(finding.source.as_deref(), Some(LOG));
        for id in &finding.ids {
            assert_eq!(id.wrong, Wrong::Missing);
            named.push(id.sequence.unwrap());
            assert_eq!(finding.hour, Some(world.records[id.sequence.unwrap() as usize].0));
        }
    }
    named.sort_unstable();
    assert_eq!(named, (100..110).collect::<Vec<u64>>());
}

#[test]
fn another_record_in_the_place_of_one_shows_in_the_sum_of_its_hour() {
    let mut world = world();
    world.append(10);
    world.stream(110);
    // The table decodes something else than was stored.
    world.records[104].1 ^= 1;
    world.commit(110);
    let findings = world.balance().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].fault, findings[0].hour), (Fault::Sums, Some(world.records[104].0)));
}

#[test]
fn a_row_that_vanishes_between_function_and_table_shows_in_its_hour() {
    let mut world = world();
    world.append(5);
    world.stream(105);
    let (commit, mut entry) = world.next_commit(105);
    let counts = &mut entry.sources[0].hours[0].1;
    counts.added -= 1;
    world.submit(Command::Prepared(entry));
    world.commits.push(commit);
    let findings = world.balance().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].fault, findings[0].missing), (Fault::Rows, 1));
}

#[test]
fn a_row_that_is_gone_doubled_or_exchanged_shows_in_its_partition() {
    let world = world();
    let (place, ids) = world.commits[1].places.iter().next().unwrap();
    for (change, missing, extra) in [(0, 1, 0), (1, 0, 1), (2, 0, 0)] {
        let mut live = world.live();
        let found = live.tables.get_mut("flights").unwrap().places.as_mut().unwrap().get_mut(place).unwrap();
        match change {
            0 => found.subtract([ids[0]].into_iter().collect()),
            1 => found.add(ids[0]),
            _ => found.sum ^= 1,
        }
        let findings = balance(&world.ledger, &live, &Choice::default()).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].fault, findings[0].missing, findings[0].extra), (Fault::Stock, missing, extra));
        assert_eq!(findings[0].partition, Some(place.to_string()));
    }
}

#[test]
fn rows_of_the_delta_log_are_compared_by_partition() {
    let world = world();
    let mut live = world.live();
    let table = live.tables.get_mut("flights").unwrap();
    let mut partitions = std::collections::BTreeMap::new();
    for (place, tally) in table.places.take().unwrap() {
        *partitions.entry(place.partition()).or_default() += tally.count;
    }
    table.partitions = Some(partitions);
    assert_eq!(balance(&world.ledger, &live, &Choice::default()).findings, []);
    *live.tables.get_mut("flights").unwrap().partitions.as_mut().unwrap().get_mut(&(Some(4), None)).unwrap() += 3;
    let findings = balance(&world.ledger, &live, &Choice::default()).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].extra, findings[0].partition.as_deref()), (3, Some("1970-01-05")));
}

#[test]
fn a_log_that_ends_early_is_noticed() {
    let mut world = world();
    world.records.truncate(90);
    let findings = world.balance().findings;
    assert_eq!((findings[0].hop, findings[0].missing, findings[0].ids.len()), (Hop::Stream, 10, 10));
    world.submit(Command::Rewound { log: World::log(), tail: 90 });
    let balance = world.balance();
    assert_eq!(balance.incidents.len(), 1);
    assert!(balance.incidents[0].what.contains("records 90 to 99"), "{}", balance.incidents[0].what);
    // The same once more is not news.
    assert_eq!(world.submit(Command::Rewound { log: World::log(), tail: 90 }), crate::Booked::Stale);
}

#[test]
fn a_door_that_does_not_answer_for_a_record_is_found() {
    let mut world = world();
    let counts = DoorCounts { received: 10, stored: 6, repeated: 1, refused: 2, dead_lettered: 1, failed: 0 };
    world.submit(Command::Doors(vec![("flights".into(), Hour(7), counts)]));
    world.assert_even(11);
    world.submit(Command::Doors(vec![("flights".into(), Hour(7), DoorCounts { received: 1, ..Default::default() })]));
    let findings = world.balance().findings;
    assert_eq!((findings[0].hop, findings[0].hour, findings[0].missing), (Hop::Door, Some(Hour(7)), 1));
}

#[test]
fn a_function_is_compared_with_its_stream() {
    let mut world = world();
    let outbox = "stream/_function-score/0".to_owned();
    let said = |world: &World, number, from: usize, to: usize, reached: Reached| {
        let mut hours = std::collections::BTreeMap::<Hour, FunctionCounts>::new();
        for (hour, digest) in &world.records[from..to] {
            hours.entry(*hour).or_default().done.add(*digest);
        }
        let (function, source) = ("score".to_owned(), LOG.to_owned());
        let hours = hours.into_iter().collect();
        FunctionHours { function, outbox: outbox.clone(), source, number, since: 0, hours, lost: Vec::new(), reached }
    };
    let reached = |next, done: &[(u64, u64)]| Reached { next, done: done.to_vec() };
    let first = said(&world, 1, 0, 40, reached(40, &[]));
    // Told twice, taken once.
    world.submit(Command::Functions(vec![first.clone()]));
    world.submit(Command::Functions(vec![first]));
    let second = said(&world, 2, 45, 50, reached(40, &[(45, 50)]));
    world.submit(Command::Functions(vec![second]));
    world.assert_even(11);
    let lines = world.balance().lines;
    let waiting: u64 = lines.iter().filter(|line| line.hop == Hop::Function).map(|line| line.in_flight).sum();
    assert_eq!(waiting, 55);
    // It says that it is done with what it has not done.
    let third = said(&world, 3, 50, 52, reached(52, &[]));
    world.submit(Command::Functions(vec![third]));
    let findings = world.balance().findings;
    assert_eq!(findings.iter().map(|finding| finding.missing).sum::<u64>(), 5);
    assert!(findings.iter().all(|finding| finding.hop == Hop::Function));
}

#[test]
fn an_archive_is_compared_with_its_stream() {
    let world = world();
    let mut live = world.live();
    let mut archived = std::collections::BTreeMap::new();
    for (hour, of) in &world.ledger.shards[&World::log()].hours {
        archived.insert((0, *hour), ArchivedHour { first: of.first, end: of.end, tally: of.tally });
    }
    live.archives.insert("flights".into(), archived.clone());
    assert_eq!(balance(&world.ledger, &live, &Choice::default()).findings, []);
    // The newest hour is not archived yet: in flight.
    let ((_, last), newest) = archived.pop_last().unwrap();
    live.archives.insert("flights".into(), archived.clone());
    let even = balance(&world.ledger, &live, &Choice::default());
    assert_eq!(even.findings, []);
    let line = even.lines.iter().find(|line| line.hop == Hop::Archive && line.hour == last).unwrap();
    assert_eq!(line.in_flight, newest.tally.count);
    // One in the middle is gone.
    let middle = *archived.keys().nth(1).unwrap();
    let gone = archived.remove(&middle).unwrap();
    live.archives.insert("flights".into(), archived);
    let findings = balance(&world.ledger, &live, &Choice::default()).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].hop, findings[0].hour, findings[0].missing),
        (Hop::Archive, Some(middle.1), gone.tally.count)
    );
}
