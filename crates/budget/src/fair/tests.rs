use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Serves until nothing waits, and returns after how many calls each leaf's last one was served.
fn ends(fair: &mut Fair<u32>) -> HashMap<LeafId, usize> {
    let mut ends = HashMap::new();
    let mut served = 0;
    while let Some((id, _)) = fair.pop() {
        served += 1;
        ends.insert(id, served);
    }
    ends
}

fn push(fair: &mut Fair<u32>, id: LeafId, calls: u32) {
    for call in 0..calls {
        fair.push(id, call);
    }
}

#[test]
fn fifty_calls_behind_fifty_thousand_end_within_their_fair_time() {
    for same_group in [true, false] {
        let mut fair = Fair::default();
        let big = fair.hold(("a", 1), ("big", 1));
        push(&mut fair, big, 50_000);
        for _ in 0..1_000 {
            fair.pop();
        }
        let small = fair.hold((if same_group { "a" } else { "b" }, 1), ("small", 1));
        push(&mut fair, small, 50);
        let end = ends(&mut fair)[&small];
        assert!((95..=105).contains(&end), "ended after {end} calls; 100 are fair");
    }
}

#[test]
fn weights_are_shares_on_both_levels() {
    let mut fair = Fair::default();
    let (a, b) = (fair.hold(("a", 1), ("", 1)), fair.hold(("b", 3), ("x", 1)));
    let c = fair.hold(("b", 3), ("y", 2));
    for id in [a, b, c] {
        push(&mut fair, id, 10_000);
    }
    let mut served: HashMap<LeafId, i64> = HashMap::new();
    for _ in 0..4_000 {
        *served.entry(fair.pop().unwrap().0).or_default() += 1;
    }
    assert!((served[&a] - 1_000).abs() <= 2, "{served:?}");
    assert!((served[&b] - 1_000).abs() <= 2, "{served:?}");
    assert!((served[&c] - 2_000).abs() <= 2, "{served:?}");
}

#[test]
fn idle_flows_have_no_credit() {
    let mut fair = Fair::default();
    let (idle, busy) = (fair.hold(("idle", 1), ("", 1)), fair.hold(("busy", 1), ("", 1)));
    push(&mut fair, busy, 10_000);
    for _ in 0..5_000 {
        fair.pop();
    }
    push(&mut fair, idle, 1_000);
    let first: Vec<_> = (0..20).map(|_| fair.pop().unwrap().0).collect();
    let ahead = first.iter().filter(|id| **id == idle).count();
    assert!((10..=11).contains(&ahead), "{ahead} of the next 20");
}

#[test]
fn a_flow_that_is_made_again_for_each_call_gets_no_more_than_its_share() {
    let mut fair = Fair::default();
    let steady = fair.hold(("steady", 1), ("", 1));
    push(&mut fair, steady, 10_000);
    let mut others = 0;
    for _ in 0..1_000 {
        let fresh = fair.hold(("fresh", 1), ("", 1));
        if fair.waiting_in(fresh) == 0 {
            fair.push(fresh, 0);
        }
        fair.release(fresh);
        others += usize::from(fair.pop().unwrap().0 != steady);
    }
    assert!((499..=501).contains(&others), "{others} of 1000");
}

#[test]
fn ten_thousand_tenants_are_served_in_turn_and_forgotten() {
    let mut fair = Fair::default();
    let ids: Vec<_> = (0..10_000).map(|tenant| fair.hold(("crawl", 1), (&format!("tenant-{tenant}"), 1))).collect();
    for id in &ids {
        push(&mut fair, *id, 2);
    }
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10_000 {
        assert!(seen.insert(fair.pop().unwrap().0), "nobody has a second turn before all had one");
    }
    for id in ids {
        fair.release(id);
    }
    assert_eq!(fair.known(), 10_000, "calls that wait keep their flow");
    ends(&mut fair);
    assert!(fair.known() <= 1, "{} flows are left", fair.known());
    assert_eq!(fair.waiting(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, u8),
    Pop,
    Cancel(usize),
    Served(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3u8, 0..3u8).prop_map(|(group, leaf)| Step::Push(group, leaf)),
        2 => Just(Step::Pop),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (0..3u8, 0..3u8).prop_map(|(group, leaf)| Step::Served(group, leaf)),
    ]
}

proptest! {
    #[test]
    fn no_call_is_lost_doubled_or_overtaken_within_its_flow(steps in prop::collection::vec(step(), 1..200)) {
        let mut fair = Fair::default();
        let mut model: HashMap<LeafId, Vec<(u64, u32)>> = HashMap::new();
        for (at, step) in steps.into_iter().enumerate() {
            let hold = |fair: &mut Fair<u32>, group: u8, leaf: u8| {
                let id = fair.hold((&format!("g{group}"), u32::from(group)), (&format!("l{leaf}"), u32::from(leaf)));
                (id, at as u32)
            };
            match step {
                Step::Push(group, leaf) => {
                    let (id, call) = hold(&mut fair, group, leaf);
                    let number = fair.push(id, call);
                    model.entry(id).or_default().push((number, call));
                    fair.release(id);
                }
                Step::Pop => match fair.pop() {
                    Some((id, call)) => prop_assert_eq!(model.get_mut(&id).unwrap().remove(0).1, call),
                    None => prop_assert!(model.values().all(Vec::is_empty)),
                },
                Step::Cancel(which) => {
                    let all: Vec<_> = model.iter().flat_map(|(id, calls)| calls.iter().map(|call| (*id, call.0))).collect();
                    if !all.is_empty() {
                        let (id, number) = all[which % all.len()];
                        prop_assert!(fair.cancel(id, number).is_some());
                        prop_assert!(fair.cancel(id, number).is_none());
                        model.get_mut(&id).unwrap().retain(|call| call.0 != number);
                    }
                }
                Step::Served(group, leaf) => {
                    if fair.waiting() == 0 {
                        let (id, _) = hold(&mut fair, group, leaf);
                        fair.served(id);
                        fair.release(id);
                    }
                }
            }
            prop_assert_eq!(fair.waiting(), model.values().map(Vec::len).sum::<usize>());
        }
    }
}
