use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;

fn minutes(minutes: i64) -> Timestamp {
    Timestamp(minutes * MINUTE)
}

fn every(text: &str) -> Schedule {
    Schedule::parse(text, None).unwrap()
}

#[test]
fn missed_times_become_what_was_asked_for() {
    let quarter = every("cron(0/15 * * * ? *)");
    let due = |missed| quarter.due(minutes(0), minutes(50), missed);
    let next = Some(minutes(60));
    assert_eq!(due(Missed::Skip), Due { fire: vec![], next, skipped: 3, seen: minutes(50) });
    assert_eq!(due(Missed::Once), Due { fire: vec![minutes(45)], next, skipped: 2, seen: minutes(50) });
    let all = vec![minutes(15), minutes(30), minutes(45)];
    assert_eq!(due(Missed::All), Due { fire: all, next, skipped: 0, seen: minutes(50) });
}

#[test]
fn time_that_is_met_fires_whatever_is_said_of_missed_ones() {
    let hourly = every("rate(1 hour)");
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let due = hourly.due(minutes(30), Timestamp(minutes(60).0 + 59_000), missed);
        assert_eq!((due.fire, due.skipped), (vec![minutes(60)], 0), "{missed:?}");
        assert_eq!(due.next, Some(minutes(120)));
    }
    assert_eq!(hourly.due(minutes(30), minutes(62), Missed::Skip).skipped, 1);
}

#[test]
fn answer_without_room_for_all_says_when_to_go_on() {
    let minutely = every("rate(1 minute)");
    let mut last = minutes(0);
    let mut fired = Vec::new();
    for _ in 0..3 {
        let due = minutely.due(last, minutes(2500), Missed::All);
        assert!(due.fire.len() <= DUE_MAX);
        fired.extend(due.fire);
        last = due.seen;
    }
    assert_eq!(fired, (1..=2500).map(minutes).collect::<Vec<_>>());
    assert_eq!(last, minutes(2500));
}

#[test]
fn decades_of_missed_minutes_are_counted_up_to_the_limit() {
    let due = every("cron(* * * * ? *)").due(minutes(0), minutes(20_000_000), Missed::Once);
    assert_eq!(due.fire, [minutes(20_000_000)]);
    assert_eq!(due.skipped, SKIPPED_MAX - 1);
    let due = every("rate(1 minute)").due(minutes(0), minutes(20_000_000), Missed::Once);
    assert_eq!(due.skipped, 19_999_999);
}

#[test]
fn time_of_a_repeated_hour_is_found_while_the_hour_repeats() {
    let berlin = Schedule::parse("cron(45 2 * * ? *)", Some("Europe/Berlin")).unwrap();
    // 02:45 was shown at 00:45 UTC; at 01:15 UTC the clocks show 02:15 again.
    let utc = |hours: i64, minutes: i64| Timestamp(1_792_886_400_000 + (hours * 60 + minutes) * MINUTE);
    assert_eq!(utc(0, 0).to_string(), "2026-10-25T00:00:00.000Z");
    let due = berlin.due(utc(0, 0), utc(1, 15), Missed::Once);
    assert_eq!(due.fire, [utc(0, 45)]);
    assert_eq!(due.next, Some(utc(25, 45)));
    assert!(berlin.due(due.seen, utc(2, 0), Missed::Once).fire.is_empty());
}

proptest! {
    #[test]
    fn nothing_fires_twice_and_nothing_is_lost_whatever_the_clock_does(
        text in proptest::sample::select(vec!["rate(7 minutes)", "cron(3/10 * * * ? *)", "cron(0 0/2 ? * * *)", "at(1970-01-01T09:30:00)"]),
        steps in proptest::collection::vec((-200i64..400, 0i64..MINUTE), 1..40),
        missed in proptest::sample::select(vec![Missed::Skip, Missed::Once, Missed::All]),
    ) {
        let schedule = every(text);
        let (mut now, mut last) = (minutes(0), minutes(0));
        let mut fired = BTreeSet::new();
        let mut skipped = 0;
        for (step, ms) in steps {
            now = Timestamp((now.0 + step * MINUTE).max(0) + ms);
            let due = schedule.due(last, now, missed);
            for time in &due.fire {
                prop_assert!(fired.insert(*time), "{} fired twice", time);
                prop_assert!(*time > last && *time <= now);
            }
            prop_assert!(due.seen >= last);
            prop_assert!(due.next.is_none_or(|next| next > due.seen));
            skipped += due.skipped;
            last = due.seen;
        }
        let came = std::iter::successors(schedule.next_after(minutes(0)), |time| schedule.next_after(*time))
            .take_while(|time| *time <= last)
            .count() as u64;
        prop_assert_eq!(fired.len() as u64 + skipped, came);
    }
}
