//! Whatever is cut off, the books are what the table's commits did.

use weir_machine::Machine;

use super::world::World;
use crate::{Booked, Command, Ledger, PLACES_PER_PART, PlaceEntry, PlaceKey};

#[test]
fn books_balance_over_any_crash() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            let stored = world.records.len() as u64;
            match world.draw(9) {
                0..3 => {
                    let count = 1 + world.draw(30);
                    world.append(count);
                }
                3 => {
                    let to = world.streamed + world.draw(stored - world.streamed + 1);
                    world.stream(to);
                }
                4..6 if stored > world.position() => {
                    let to = world.position() + 1 + world.draw(stored - world.position());
                    world.commit(to);
                }
                // Prepared, and not made; then prepared again, perhaps with more, or opened anew.
                6 if stored > world.position() => {
                    let to = world.position() + 1 + world.draw(stored - world.position());
                    let (_, entry) = world.next_commit(to);
                    world.submit(Command::Prepared(entry));
                    if world.draw(2) == 0 {
                        world.open();
                    }
                }
                7 => {
                    world.open();
                }
                8 => world.ledger = Ledger::restore(&world.ledger.snapshot()).unwrap(),
                _ => {}
            }
        }
        let all = world.records.len() as u64;
        world.stream(all);
        world.assert_even(seed);
        let booked = &world.ledger.tables["flights"];
        let commits = world.commits.len() as u64;
        assert_eq!(booked.booked(commits), commits, "seed {seed}");
        assert_eq!(booked.rows(commits), world.places().values().map(|tally| tally.count).sum::<u64>());
    }
}

#[test]
fn an_entry_of_several_parts_counts_once_all_are_there() {
    let mut world = World::new(1);
    world.append(10);
    world.stream(10);
    let (_, mut entry) = world.next_commit(10);
    let place = |day| PlaceEntry {
        place: PlaceKey(Some(day), None, 0),
        added: [u128::from(day.unsigned_abs()) + 7].into_iter().collect(),
        removed: Default::default(),
        late: 0,
        replaced: 0,
    };
    entry.places = (0..2 * PLACES_PER_PART as i32 + 5).map(place).collect();
    let parts = entry.clone().into_parts();
    assert_eq!(parts.len(), 3);
    // The first try breaks off after two parts, and the commit is not made.
    for part in &parts[..2] {
        assert_eq!(world.submit(Command::Prepared(part.clone())), Booked::Taken);
    }
    assert_eq!(world.ledger.tables["flights"].booked(1), 0);
    for part in parts {
        assert_eq!(world.submit(Command::Prepared(part)), Booked::Taken);
    }
    let book = &world.ledger.tables["flights"];
    assert_eq!((book.booked(0), book.booked(1)), (0, 1));
    assert_eq!((book.rows(0), book.rows(1)), (0, entry.places.len() as u64));
    let stock = book.stock(1).unwrap();
    assert_eq!(stock.len(), entry.places.len());
    assert!(stock.values().all(|stock| stock.first_hour.is_some() && stock.changes.appends == 1));
    // A part in the middle alone is nothing.
    let (_, entry) = world.next_commit(10);
    let mut late = entry.into_parts().remove(0);
    (late.number, late.part, late.parts) = (2, 2, 2);
    assert_eq!(world.submit(Command::Prepared(late)), Booked::Stale);
}

#[test]
fn a_table_that_went_back_is_noticed_and_its_books_fit_it_again() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        for _ in 0..10 {
            world.append(20);
            let to = world.records.len() as u64;
            world.commit(to);
        }
        let all = world.records.len() as u64;
        world.stream(all);
        world.assert_even(seed);
        world.submit(Command::Made(vec![("flights".into(), 10)]));
        let back = 1 + world.draw(9);
        world.commits.truncate(10 - back as usize);
        world.open();
        let balance = world.balance();
        assert_eq!(balance.findings, [], "seed {seed}");
        assert_eq!(balance.incidents.len(), 1);
        let incident = &balance.incidents[0];
        assert!(incident.what.contains(&format!("its last {back} are gone")), "{}", incident.what);
        let first = world.records[world.position() as usize].0;
        assert_eq!(incident.hours, Some((first, world.records.last().unwrap().0)), "seed {seed}");
        // The records are read again, and counted once.
        world.commit(all);
        let number = incident.number;
        world.submit(Command::Accepted { incident: number, note: "an older copy was restored".into() });
        world.assert_even(seed);
    }
}

#[test]
fn a_table_that_went_back_further_than_is_kept_is_counted_anew() {
    let mut world = World::new(3);
    for _ in 0..80 {
        world.append(10);
        let to = world.records.len() as u64;
        world.commit(to);
    }
    let all = world.records.len() as u64;
    world.stream(all);
    world.assert_even(3);
    world.commits.truncate(2);
    world.open();
    let balance = world.balance();
    assert_eq!(balance.findings.len(), 1, "{:?}", balance.findings);
    assert!(balance.findings[0].what.contains("is not known"));
    world.commit(all);
    let places = world.places().into_iter().collect();
    let commits = world.commits.len() as u64;
    let recounted = Command::Recounted { table: "flights".into(), commits, places, note: "counted".into() };
    assert_eq!(world.submit(recounted), Booked::Taken);
    let balance = world.balance();
    assert_eq!(balance.findings, []);
    assert_eq!(balance.incidents.len(), 1);
}

#[test]
fn folding_keeps_the_sums_and_forgets_the_hours() {
    let mut world = World::new(5);
    world.append(400);
    world.stream(400);
    world.commit(400);
    world.open();
    let last = world.records[399].0;
    let before: u64 = world.balance().lines.iter().map(|line| line.records_in).sum();
    assert_eq!(before, 800);
    world.submit(Command::Folded { before: last });
    world.assert_even(5);
    assert!(world.balance().lines.iter().all(|line| line.hour == last));
    let in_last = world.records.iter().filter(|(hour, _)| *hour == last).count() as u64;
    assert_eq!(world.ledger.shards[&World::log()].older.count, 400 - in_last);
    assert_eq!(world.ledger.tables["flights"].sources(1)["stream/flights/0"].older.read.count, 400 - in_last);
}
