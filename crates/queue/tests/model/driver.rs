//! Drives queues with random operations, and holds them against the model.

mod check;
mod moves;
mod send;
mod take;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use weir_env::Random;
use weir_queue::{DeadLetter, DeadLetterTo, Queue, Queues, Settings, Tuning};
use weir_types::Timestamp;

use self::moves::Moving;
use crate::model::{Model, Span};
use crate::support::{World, dead_letters, fifo, insist, name, standard};

/// Every queue's name. `work` and `line.fifo` give up after some receives, `table` to whoever asks, `brief` forgets soon.
const QUEUES: [&str; 6] = ["dead", "dead.fifo", "work", "line.fifo", "table", "brief"];
/// Those that keep their messages long enough to be counted.
const COUNTED: [&str; 5] = ["dead", "dead.fifo", "work", "line.fifo", "table"];
/// Operations that a failure shows.
const LAST: usize = 25;
/// Looks for what must come.
const LOOKS_MAX: usize = 20_000;
/// What `brief` keeps its messages for.
const BRIEF: Duration = Duration::from_secs(600);

/// Small enough that snapshots and copies come after every few operations.
fn tuning() -> Tuning {
    Tuning { snapshot_bytes: 3000, dead_bytes: 1500, carry_bytes: 4000, sweep_messages: 7, cache_bytes: 1000 }
}

pub struct Driver {
    world: World,
    random: Random,
    queues: Option<Arc<Queues>>,
    model: Model,
    stamps: BTreeMap<(&'static str, String), u64>,
    /// A move that a crash has cut off.
    moving: Option<Moving>,
    /// Operations.
    left: usize,
    crashed: bool,
    done: Vec<String>,
}

/// How a life of the queues ended.
enum Lived {
    Crashed,
    Done,
}

fn settings(queue: &str) -> Settings {
    match queue {
        "dead.fifo" => fifo(),
        "work" => dead_letters(standard(), 3, "dead"),
        "line.fifo" => dead_letters(fifo(), 2, "dead.fifo"),
        "table" => {
            let dead_letter = DeadLetter { max_receives: 2, to: DeadLetterTo::Table };
            Settings { dead_letter: Some(dead_letter), ..standard() }
        }
        "brief" => Settings { retention: BRIEF, ..standard() },
        _ => standard(),
    }
}

impl Driver {
    /// Runs so many operations, and looks for every message at the end.
    pub fn run(seed: u64, operations: usize) {
        let mut driver = Self {
            world: World::flaky(seed, tuning()),
            random: Random::seeded(seed ^ 0x5eed),
            queues: None,
            model: Model::default(),
            stamps: BTreeMap::new(),
            moving: None,
            left: operations,
            crashed: false,
            done: Vec::new(),
        };
        loop {
            // Dropping a runtime drops its tasks where they wait, as a crash does.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let lived = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(driver.live())));
            drop(runtime);
            match lived {
                Ok(Lived::Crashed) => driver.queues = None,
                Ok(Lived::Done) => return,
                Err(_) => {
                    let last = driver.done.iter().rev().take(LAST).rev().cloned().collect::<Vec<_>>().join("\n  ");
                    panic!("seed {seed}, after {} operations; the last of them:\n  {last}", driver.done.len());
                }
            }
        }
    }

    /// Opens the queues, and goes on until something crashes or all is done.
    async fn live(&mut self) -> Lived {
        self.open().await;
        if let Some(moving) = self.moving.take() {
            self.end_move(moving).await;
        }
        while self.left > 0 {
            self.left -= 1;
            self.operation().await;
            if self.left == 0 {
                self.note("the last crash".into());
                self.crashed = true;
            }
            if std::mem::take(&mut self.crashed) {
                return Lived::Crashed;
            }
            // Carriers, snapshots and timers come as far as chance has it.
            for _ in 0..self.below(12) {
                tokio::task::yield_now().await;
            }
        }
        self.drain().await;
        Lived::Done
    }

    async fn open(&mut self) {
        self.model.crash();
        if self.below(4) == 0
            && let Some(damaged) = self.world.damage_a_snapshot(self.random.next()).await
        {
            self.note(format!("damage {damaged}"));
        }
        let queues = self.world.open().await;
        for queue in QUEUES {
            let settings = settings(queue);
            let made = queues.ensure(name(queue), settings.clone()).await.unwrap();
            assert_eq!(made.settings(), settings);
            if !self.model.queues.contains_key(queue) {
                self.model.add_queue(queue, settings);
            }
        }
        self.queues = Some(queues);
    }

    async fn operation(&mut self) {
        match self.below(100) {
            0..22 => self.send().await,
            22..25 => self.send_and_go_away().await,
            25..28 => self.send_once().await,
            28..53 => self.receive().await,
            53..66 => self.delete().await,
            66..73 => self.hide().await,
            73..82 => self.advance(),
            82..84 => self.jump(),
            84..87 => self.give_up_and_crash().await,
            87..90 => {
                self.note("upkeep".into());
                self.queues().upkeep().await;
            }
            90..92 => self.settle().await,
            92..94 => self.exhausted().await,
            94..95 => self.browse().await,
            95..96 => self.quiesce().await,
            96..97 => self.start_move().await,
            97..98 if self.below(4) == 0 => self.purge().await,
            _ => self.restart().await,
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn queues(&self) -> &Arc<Queues> {
        self.queues.as_ref().unwrap()
    }

    fn queue(&self, queue: &str) -> Arc<Queue> {
        self.queues().get(&name(queue)).unwrap()
    }

    fn wall(&self) -> Timestamp {
        self.world.env.now()
    }

    fn now(&mut self, queue: &str) -> Span {
        let wall = self.wall();
        self.model.now(queue, wall)
    }

    fn note(&mut self, what: String) {
        self.done.push(format!("{} at {}", what, self.wall().0 % 1_000_000_000));
    }

    fn target(&self) -> &'static str {
        self.pick(&["work", "work", "work", "line.fifo", "line.fifo", "table", "brief", "dead"])
    }

    fn advance(&mut self) {
        let span = Duration::from_millis(self.pick(&[1, 200, 1000, 5001, 30_001, 61_000, 301_000]));
        self.note(format!("{span:?} pass"));
        self.pass(span);
    }

    fn pass(&mut self, span: Duration) {
        self.world.clock.advance(span);
        let wall = self.wall();
        self.model.pass(span, wall);
    }

    /// Lets leases run out, and crashes while what they have given up is on its way.
    async fn give_up_and_crash(&mut self) {
        self.pass(Duration::from_millis(61_000));
        let turns = self.below(40);
        self.note(format!("61 s pass, and a crash after {turns} turns"));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        self.crashed = true;
    }

    fn jump(&mut self) {
        let now = self.wall().0;
        let to = if self.below(2) == 0 { now - self.below(40_000) as i64 } else { now + self.below(200_000) as i64 };
        self.note(format!("the clock is set from {} to {}", now % 1_000_000_000, to % 1_000_000_000));
        self.world.clock.jump(Timestamp(to));
        self.model.high = self.model.high.max(now).max(to);
    }

    async fn restart(&mut self) {
        if self.below(2) == 0 {
            self.note("close and open".into());
            self.queues().close().await;
        } else {
            self.note("crash and open".into());
        }
        self.crashed = true;
    }
}
