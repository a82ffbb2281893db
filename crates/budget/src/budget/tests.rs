use std::pin::pin;

use futures::FutureExt;
use futures::future::join_all;
use object_store::memory::InMemory;
use weir_env::ManualClock;
use weir_log::{Engine, MemoryEngine};
use weir_machine::{Options, Snapshots};
use weir_types::{LogName, Timestamp};

use super::*;
use crate::{Pace, Quota, QuotaPeriod, Rate};

const MS: Duration = Duration::from_millis(1);

/// A node that can be started again over what it stored.
struct World {
    clock: ManualClock,
    env: Env,
    engine: MemoryEngine,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp(1_767_225_600_000));
        let env = Env::seeded(clock.clone(), 1);
        Self { engine: MemoryEngine::new(env.clone()), clock, env, store: Arc::new(InMemory::new()) }
    }

    async fn facts(&self) -> Owner<Budgets> {
        let log = self.engine.log(&LogName::machine("budgets")).await.unwrap();
        let snapshots = Snapshots::new(self.store.clone(), object_store::path::Path::from("snapshots"));
        Owner::open(log, snapshots, self.env.clone(), Options::default()).await.unwrap()
    }

    async fn budget(&self, settings: Settings) -> Arc<Budget> {
        Budget::open("vendor".parse().unwrap(), settings, self.facts().await, self.env.clone())
    }

    /// Lets time pass, and the tasks that wait for it run.
    async fn pass(&self, span: Duration) {
        settle().await;
        self.clock.advance(span);
        settle().await;
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn limited(calls: u64, burst: u64) -> Settings {
    let rates = vec![Rate { calls, per: Duration::from_secs(1) }];
    Settings { pace: Pace::Limited(rates), burst: Some(burst), ..Settings::default() }
}

fn unlimited(concurrency: u32) -> Settings {
    Settings { pace: Pace::Unlimited, concurrency: Some(concurrency), ..Settings::default() }
}

fn share(name: &str) -> Share<'_> {
    Share { name, weight: 1 }
}

fn answered() -> Signal {
    Signal::of(Outcome::Answered)
}

#[tokio::test]
async fn a_call_waits_for_its_time_and_says_why_and_no_task_is_left() {
    let world = World::new();
    let budget = world.budget(limited(10, 1)).await;
    let flow = budget.flow(&[share("crawl"), share("tenant")]);
    let mut waiting = pin!(flow.permit());
    assert!((&mut waiting).now_or_never().is_none());
    let status = budget.status();
    assert_eq!(status.wait, Wait::Budget { until: world.env.now().after(100 * MS) });
    assert_eq!((flow.wait(), flow.waiting(), status.waiting), (status.wait, 1, 1));
    assert_eq!(status.flows, [FlowStatus { path: vec!["crawl".into(), "tenant".into()], waiting: 1 }]);
    world.pass(99 * MS).await;
    assert!((&mut waiting).now_or_never().is_none());
    world.pass(MS).await;
    let permit = (&mut waiting).now_or_never().expect("its time has come");
    assert_eq!((budget.status().in_flight, budget.status().wait), (1, Wait::Nothing));
    assert!(!permit.end(answered()).vendor_down);
    assert_eq!((budget.status().in_flight, budget.status().answered), (0, 1));
    assert_eq!(budget.lock().task, None);
}

#[tokio::test]
async fn the_end_of_a_call_lets_the_next_one_go_without_a_task() {
    let world = World::new();
    let budget = world.budget(unlimited(2)).await;
    let flow = budget.flow(&[share("crawl")]);
    let (first, _second) = (flow.try_permit().unwrap(), flow.try_permit().unwrap());
    let mut third = pin!(flow.permit());
    assert!((&mut third).now_or_never().is_none());
    assert_eq!((flow.wait(), budget.lock().task), (Wait::Concurrency, None));
    drop(first);
    assert!((&mut third).now_or_never().is_some());
}

#[tokio::test]
async fn a_dropped_call_leaves_its_place_and_a_permit_on_its_way_is_not_lost() {
    let world = World::new();
    let budget = world.budget(unlimited(1)).await;
    let flow = budget.flow(&[share("crawl")]);
    let held = flow.try_permit().unwrap();
    {
        let mut gone = Box::pin(flow.permit());
        assert!((&mut gone).now_or_never().is_none());
        assert_eq!(budget.status().waiting, 1);
        drop(gone);
        assert_eq!(budget.status().waiting, 0);
    }
    let mut gone = Box::pin(flow.permit());
    assert!((&mut gone).now_or_never().is_none());
    held.end(answered());
    assert_eq!(budget.status().in_flight, 1, "it is on its way");
    drop(gone);
    assert_eq!(budget.status().in_flight, 0);
    assert!(flow.try_permit().is_some());
}

#[tokio::test]
async fn two_crawls_take_turns_and_flows_that_nobody_holds_are_forgotten() {
    let world = World::new();
    let budget = world.budget(limited(1000, 1)).await;
    let (big, small) = (budget.flow(&[share("big")]), budget.flow(&[share("small")]));
    let order = std::sync::Mutex::new(Vec::new());
    let call = |flow: &Flow, name: &'static str| {
        let flow = flow.clone();
        let order = &order;
        async move {
            let permit = flow.permit().await;
            order.lock().unwrap().push(name);
            permit.end(answered());
        }
    };
    let calls = (0..500).map(|_| call(&big, "big")).chain((0..20).map(|_| call(&small, "small")));
    let mut all = pin!(join_all(calls));
    assert!((&mut all).now_or_never().is_none());
    for _ in 0..600 {
        world.pass(MS).await;
        let _ = (&mut all).now_or_never();
        if order.lock().unwrap().len() == 520 {
            break;
        }
    }
    let order = order.lock().unwrap();
    let last = order.iter().rposition(|name| *name == "small").unwrap();
    assert!((38..=42).contains(&last), "the small one ended after {last} calls; 40 are fair");
    drop((big, small));
    assert_eq!(budget.lock().fair.known(), 0);
}

#[tokio::test]
async fn what_was_learned_survives_a_restart() {
    let world = World::new();
    {
        let budget = world.budget(unlimited(64)).await;
        let flow = budget.flow(&[share("crawl")]);
        let throttled = Signal { retry_after: Some(Duration::from_secs(90)), ..Signal::of(Outcome::Throttled) };
        for _ in 0..20 {
            flow.try_permit().unwrap().end(answered());
        }
        flow.try_permit().unwrap().end(throttled);
        settle().await;
    }
    world.clock.advance(Duration::from_secs(30));
    let budget = world.budget(unlimited(64)).await;
    let status = budget.status();
    assert_eq!(status.blocked_until.unwrap().since(world.env.now()), Duration::from_secs(60));
    let flow = budget.flow(&[share("crawl")]);
    let mut permit = pin!(flow.permit());
    assert!((&mut permit).now_or_never().is_none());
    assert!(matches!(flow.wait(), Wait::VendorLimit { .. }));
    world.pass(Duration::from_secs(60)).await;
    assert!((&mut permit).now_or_never().is_some());
}

#[tokio::test]
async fn a_quota_holds_over_a_restart_and_what_is_left_is_given_back_at_the_end() {
    let world = World::new();
    let quotas = vec![Quota { calls: 2_000, per: QuotaPeriod::Day, timezone: chrono_tz::UTC }];
    let settings = Settings { quotas, ..unlimited(64) };
    let mut made = 0;
    for run in 0..3 {
        let budget = world.budget(settings.clone()).await;
        let flow = budget.flow(&[share("crawl")]);
        for _ in 0..if run < 2 { 101 } else { 2_000 } {
            let mut permit = pin!(flow.permit());
            if (&mut permit).now_or_never().is_none() {
                settle().await;
                let Some(permit) = (&mut permit).now_or_never() else { break };
                permit.end(answered());
            }
            made += 1;
        }
        budget.close().await.unwrap();
    }
    assert_eq!(made, 2_000);
    let budget = world.budget(settings).await;
    let flow = budget.flow(&[share("crawl")]);
    let mut permit = pin!(flow.permit());
    assert!((&mut permit).now_or_never().is_none());
    settle().await;
    let midnight = Timestamp(1_767_225_600_000 + 86_400_000);
    assert_eq!(flow.wait(), Wait::Quota { until: midnight });
    assert_eq!((budget.status().quotas[0].left, budget.status().quotas[0].until), (0, midnight));
    for _ in 0..24 * 60 {
        world.pass(Duration::from_secs(60)).await;
    }
    assert!((&mut permit).now_or_never().is_some(), "the next day");
}

#[tokio::test]
async fn an_outage_is_the_vendors_fault_and_one_probe_ends_it() {
    let world = World::new();
    let budget = world.budget(unlimited(64)).await;
    let flow = budget.flow(&[share("crawl")]);
    let down: Vec<_> =
        (0..5).map(|_| flow.try_permit().unwrap().end(Signal::of(Outcome::Failed)).vendor_down).collect();
    assert_eq!(down, [false, false, false, false, true]);
    let (mut first, mut second) = (pin!(flow.permit()), pin!(flow.permit()));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    assert!(matches!(flow.wait(), Wait::Breaker { .. }));
    world.pass(1000 * MS).await;
    let probe = (&mut first).now_or_never().expect("a probe");
    assert!((&mut second).now_or_never().is_none(), "one at a time");
    probe.end(answered());
    assert!((&mut second).now_or_never().is_some());
}
