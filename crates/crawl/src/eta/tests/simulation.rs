//! Seeded crawls of a fleet, estimated from a tenth of their calls on: does the range hold the end, and does it narrow?
//!
//! The world: a list of groups, a list of devices per group, a list of data groups per device, readings per data group, all
//! with pages. Groups differ, neighbours are alike (an autoregressive factor), one device in twenty has ten times as many
//! data groups. Tasks are taken in turn by resource; 3 % of the calls fail and are tried again with backoff.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use weir_env::Random;
use weir_types::{SequenceNumber, Timestamp};

use crate::Task;
use crate::eta::{Between, Company, Estimator, Prior, Supply, Vendor};
use crate::progress::{Brought, Counted, End, Event, Further, Progress, Step};
use crate::runs::{By, Run, State};

const RESOURCES: [&str; 4] = ["group", "device", "data_group", "readings"];
const TICK_MS: i64 = 20;
const RETRY_DELAY: Duration = Duration::from_secs(1);

struct Chance(Random);

impl Chance {
    fn unit(&self) -> f64 {
        (self.0.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A normal number, by Box and Muller.
    fn normal(&self) -> f64 {
        (-2.0 * self.unit().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn count(&self, mean: f64) -> u64 {
        // Uniform around the mean, so that the mean holds.
        (mean * 0.5 + self.unit() * mean + 0.5) as u64
    }
}

/// One list: how many children each of its pages has.
struct Node {
    resource: usize,
    pages: Vec<Vec<usize>>,
}

struct World {
    nodes: Vec<Node>,
    calls: u64,
}

#[derive(Clone, Copy)]
struct Shape {
    groups: u64,
    devices: f64,
    data_groups: f64,
    rate: f64,
}

const SHAPES: [(&str, Shape); 4] = [
    ("400", Shape { groups: 6, devices: 6.0, data_groups: 3.0, rate: 20.0 }),
    ("5,000", Shape { groups: 20, devices: 20.0, data_groups: 4.0, rate: 100.0 }),
    ("25,000", Shape { groups: 40, devices: 40.0, data_groups: 5.5, rate: 250.0 }),
    ("65,000", Shape { groups: 60, devices: 60.0, data_groups: 6.5, rate: 500.0 }),
];

impl World {
    fn new(shape: Shape, alike: f64, seed: u64, year: u64) -> Self {
        let spread = alike;
        // Each thing has chances of its own, so that a year's change of one leaves the others as they were.
        let of = |path: u64| {
            Chance(Random::seeded(
                (seed.wrapping_mul(1_000_003).wrapping_add(path)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ))
        };
        let drift = if year == 0 { 1.0 } else { (0.1 * of(u64::MAX - year).normal()).exp() };
        let mut world = Self { nodes: Vec::new(), calls: 0 };
        let mut alike = of(1).normal();
        let mut groups = Vec::new();
        for group in 0..shape.groups {
            let chance = of(1_000_000 * (group + 1));
            alike = 0.8 * alike + 0.6 * chance.normal();
            let factor = (spread * alike - spread * spread / 2.0).exp();
            let mut devices = Vec::new();
            for device in 0..chance.count(shape.devices) {
                let chance = of(1_000_000 * (group + 1) + 1_000 * (device + 1));
                let change = drift * if year == 0 { 1.0 } else { (0.2 * of(device).normal()).exp() };
                let large = if chance.unit() < 0.05 { 10.0 } else { 0.53 };
                let mut data_groups = Vec::new();
                for data_group in 0..chance.count(shape.data_groups * large * factor * change) {
                    let chance = of(1_000_000 * (group + 1) + 1_000 * (device + 1) + data_group + 1);
                    let mut pages = 1;
                    while pages < 50 && chance.unit() < (0.375 * factor).min(0.9) {
                        pages += 1;
                    }
                    data_groups.push(world.node(3, vec![Vec::new(); pages]));
                }
                devices.push(world.list(2, data_groups, 20));
            }
            groups.push(world.list(1, devices, 25));
        }
        world.list(0, groups, 20);
        world
    }

    fn node(&mut self, resource: usize, pages: Vec<Vec<usize>>) -> usize {
        self.calls += pages.len() as u64;
        self.nodes.push(Node { resource, pages });
        self.nodes.len() - 1
    }

    fn list(&mut self, resource: usize, items: Vec<usize>, page: usize) -> usize {
        let mut pages: Vec<Vec<usize>> = items.chunks(page).map(<[usize]>::to_vec).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        self.node(resource, pages)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Weather {
    Fair,
    /// The vendor's limit falls by half in the middle.
    Halved,
    /// The vendor is down for a minute, from a third of the calls on.
    Outage,
}

/// One estimate that was made on the way.
struct Sample {
    /// Part of the calls that were made.
    part: f64,
    min: f64,
    max: f64,
    likely: f64,
    /// Seconds until the run's true end, filled in at the end.
    truth: f64,
    at: f64,
}

type Call = (usize, usize, u32);

struct Simulation<'a> {
    world: &'a World,
    chance: Chance,
    waiting: [VecDeque<Call>; 8],
    turn: usize,
    flying: BinaryHeap<Reverse<(i64, Call)>>,
    resting: BinaryHeap<Reverse<(i64, Call)>>,
    progress: Progress,
    place: u64,
}

impl<'a> Simulation<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        let root = world.nodes.len() - 1;
        let mut waiting: [VecDeque<Call>; 8] = Default::default();
        waiting[0].push_back((root, 0, 0));
        let mut simulation = Self {
            world,
            chance: Chance(Random::seeded(seed)),
            waiting,
            turn: 0,
            flying: BinaryHeap::new(),
            resting: BinaryHeap::new(),
            progress: Progress::default(),
            place: 0,
        };
        let step = |(index, resource): (usize, &&str)| Step {
            resource: (*resource).to_owned(),
            parent: index.checked_sub(1).map(|above| RESOURCES[above].to_owned()),
        };
        let steps = RESOURCES.iter().enumerate().map(step).collect();
        simulation.note(&Event::started(1, Timestamp(0), steps, [&task(0, 0)]));
        simulation
    }

    /// The group of the queue: by resource, first pages apart from further ones.
    fn place_of(&self, (node, page, _): &Call) -> usize {
        let further = *page > 0 && std::env::var("ETA_TWO").is_ok();
        self.world.nodes[*node].resource + 4 * usize::from(further)
    }

    fn note(&mut self, event: &Event) {
        self.progress.apply(SequenceNumber(self.place), event);
        self.place += 1;
    }

    fn take(&mut self) -> Option<Call> {
        for offset in 0..8 {
            let turn = (self.turn + offset) % 8;
            if let Some(call) = self.waiting[turn].pop_front() {
                self.turn = (turn + 1) % 8;
                return Some(call);
            }
        }
        None
    }

    /// Runs to the end, and calls `look` after each tick.
    fn run(&mut self, rate: impl Fn(i64, u64) -> f64, mut look: impl FnMut(&Progress, i64, u64, u64)) -> i64 {
        let (mut now, mut room, mut calls) = (0, 0.0, 0);
        loop {
            now += TICK_MS;
            while self.resting.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                let Some(Reverse((_, call))) = self.resting.pop() else { break };
                let place = self.place_of(&call);
                self.waiting[place].push_back(call);
            }
            let allowed = rate(now, calls);
            room = (room + allowed * TICK_MS as f64 / 1_000.0).min((allowed * 0.1).max(1.0));
            while room >= 1.0 {
                let Some(call) = self.take() else { break };
                room -= 1.0;
                let latency = 40 + (self.chance.unit() * 40.0) as i64;
                self.flying.push(Reverse((now + latency, call)));
            }
            let mut counted = Counted::new(1, Timestamp(now));
            while self.flying.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                let Some(Reverse((_, call))) = self.flying.pop() else { break };
                calls += 1;
                self.end(now, call, &mut counted);
            }
            if !counted.is_empty() {
                self.note(&Event::Counted(counted));
                look(&self.progress, now, calls, self.flying.len() as u64);
            }
            if self.progress.open_tasks(1) == Some(0) {
                self.note(&Event::Ended { run: 1, at: Timestamp(now), how: End::Complete });
                return now;
            }
        }
    }

    fn end(&mut self, now: i64, (node, page, attempt): Call, counted: &mut Counted) {
        let Node { resource, pages } = &self.world.nodes[node];
        let task = task(*resource, page as u64);
        if self.chance.unit() < 0.03 {
            counted.retried(&task);
            let delay = RETRY_DELAY.as_millis() as f64 * f64::from(attempt).exp2() * (0.5 + 0.5 * self.chance.unit());
            self.resting.push(Reverse((now + delay as i64, (node, page, attempt + 1))));
            return;
        }
        let further = if page + 1 < pages.len() { Further::Page } else { Further::Last };
        let children: Vec<Task> =
            pages[page].iter().map(|child| self::task(self.world.nodes[*child].resource, 0)).collect();
        for child in &pages[page] {
            self.waiting[resource + 1].push_back((*child, 0, 0));
        }
        if further == Further::Page {
            let call = (node, page + 1, 0);
            let place = self.place_of(&call);
            self.waiting[place].push_back(call);
        }
        let latency = Duration::from_millis(60);
        counted.answered(&task, Brought { items: 1, further, cursor: None, latency }, &children);
    }
}

fn task(resource: usize, pages: u64) -> Task {
    Task {
        run: 1,
        resource: RESOURCES[resource].to_owned(),
        tenant: String::new(),
        values: BTreeMap::new(),
        page: None,
        pages,
        attempt: 0,
    }
}

/// Runs a crawl, and returns the estimates made from a tenth of the calls on.
fn samples(shape: Shape, alike: f64, seed: u64, weather: Weather, history: &[Run]) -> Vec<Sample> {
    let world = World::new(shape, alike, seed, 0);
    let mut simulation = Simulation::new(&world, seed);
    let prior = Prior::of(history, None);
    let (half, third) = (world.calls / 2, world.calls / 3);
    let down = std::cell::Cell::new(None);
    let rate = |now: i64, calls: u64| match weather {
        Weather::Halved if calls >= half => shape.rate / 2.0,
        Weather::Outage if calls >= third => {
            let since = down.get().unwrap_or(now);
            down.set(Some(since));
            if now - since < 60_000 { 0.0 } else { shape.rate }
        }
        _ => shape.rate,
    };
    let mut samples = Vec::new();
    let mut next = 0.1;
    let all = world.calls as f64 * 1.03;
    let end = simulation.run(rate, |progress, now, calls, in_flight| {
        let part = calls as f64 / all;
        if part < next {
            return;
        }
        next = part + 0.02;
        let allowed = match weather {
            Weather::Halved if calls >= half => shape.rate / 2.0,
            _ => shape.rate,
        };
        let allowance = Between::exactly(allowed);
        let supply = Supply {
            allowance: &allowance,
            retry_delay: RETRY_DELAY,
            in_flight,
            company: Company::Alone,
            vendor: Vendor::Up,
        };
        let run = progress.run(1).unwrap();
        let estimate = Estimator { prior: &prior, supply, now: Timestamp(now) }.run(run);
        samples.push(Sample {
            part,
            min: estimate.eta.min_seconds,
            max: estimate.eta.max_seconds.unwrap_or(f64::INFINITY),
            likely: estimate.eta.seconds.unwrap_or(f64::INFINITY),
            truth: 0.0,
            at: now as f64 / 1_000.0,
        });
    });
    for sample in &mut samples {
        sample.truth = end as f64 / 1_000.0 - sample.at;
    }
    samples
}

/// Runs an earlier crawl of the same vendor, whose data differed a little, and returns what the machine keeps of it.
fn earlier(shape: Shape, alike: f64, seed: u64) -> Run {
    let world = World::new(shape, alike, seed, 1);
    let mut simulation = Simulation::new(&world, seed + 1);
    let end = simulation.run(|_, _| shape.rate, |_, _, _, _| {});
    Run {
        number: 1,
        by: By::Hand,
        params: BTreeMap::new(),
        tenants: None,
        request: None,
        state: State::Complete,
        asked_at: Timestamp(0),
        started_at: Some(Timestamp(0)),
        paused_at: None,
        paused_ms: 0,
        ended_at: Some(Timestamp(end)),
        reason: None,
        starts: BTreeMap::new(),
        counts: simulation.progress.run(1).unwrap().counts(),
    }
}

#[test]
fn report() {
    let alike = std::env::var("ETA_ALIKE").map_or(0.25, |alike| alike.parse().unwrap());
    for weather in [Weather::Fair, Weather::Halved, Weather::Outage] {
        for first in [true, false] {
            for (name, shape) in SHAPES {
                if std::env::var("ETA_SIZES").is_ok_and(|sizes| !sizes.split(' ').any(|size| size == name)) {
                    continue;
                }
                measure(name, shape, alike, weather, first);
            }
        }
    }
}

fn measure(name: &str, shape: Shape, alike: f64, weather: Weather, first: bool) {
    let seeds = std::env::var("ETA_SEEDS").map_or(20, |seeds| seeds.parse().unwrap());
    let (mut whole, mut held, mut all) = (0, 0, 0);
    let mut widths = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    let mut bias = Vec::new();
    let mut missed = Vec::new();
    for seed in 1..=seeds {
        let history = if first { Vec::new() } else { vec![earlier(shape, alike, seed)] };
        let samples = samples(shape, alike, seed, weather, &history);
        let holds = |sample: &&Sample| sample.min <= sample.truth && sample.truth <= sample.max;
        let after = match weather {
            Weather::Fair => 0.0,
            Weather::Halved => 0.55,
            Weather::Outage => 0.36,
        };
        let counted: Vec<&Sample> = samples.iter().filter(|sample| sample.part >= after).collect();
        let right = counted.iter().copied().filter(holds).count();
        for sample in counted.iter().filter(|sample| !holds(sample)) {
            missed.push(format!(
                "{seed}@{:.2}:{:.1} [{:.1} {:.1} {:.1}]",
                sample.part, sample.truth, sample.min, sample.likely, sample.max
            ));
        }
        held += right;
        all += counted.len();
        whole += usize::from(right == counted.len());
        for (index, part) in [0.1, 0.25, 0.5, 0.9].into_iter().enumerate() {
            if let Some(sample) = samples.iter().find(|sample| sample.part >= part) {
                widths[index].push((sample.max - sample.min) / (sample.at + sample.truth));
                if index == 0 {
                    bias.push(sample.likely / sample.truth);
                }
            }
        }
    }
    let median = |numbers: &mut Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let [a, b, c, d] = &mut widths;
    println!(
        "{name:>7} {} {}: whole {whole}/{seeds}, samples {:.1} %, width/time at 10, 25, 50, 90 %: {:.2} {:.2} {:.2} {:.3}; likely/truth at 10 % {:.2} ({:.2} to {:.2})",
        match weather {
            Weather::Fair => "fair  ",
            Weather::Halved => "halved",
            Weather::Outage => "outage",
        },
        if first { "first" } else { "again" },
        100.0 * held as f64 / all as f64,
        median(a),
        median(b),
        median(c),
        median(d),
        median(&mut bias),
        bias.first().unwrap(),
        bias.last().unwrap(),
    );
    if std::env::var("ETA_MISSED").is_ok() {
        println!("   missed {}: {}", missed.len(), missed.join("  "));
    }
}
