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
    fn new(shape: Shape, spread: f64, seed: u64, year: u64) -> Self {
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
    waiting: [VecDeque<Call>; 4],
    turn: usize,
    flying: BinaryHeap<Reverse<(i64, Call)>>,
    resting: BinaryHeap<Reverse<(i64, Call)>>,
    progress: Progress,
    place: u64,
}

impl<'a> Simulation<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        let root = world.nodes.len() - 1;
        let mut waiting: [VecDeque<Call>; 4] = Default::default();
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

    fn note(&mut self, event: &Event) {
        self.progress.apply(SequenceNumber(self.place), event);
        self.place += 1;
    }

    fn take(&mut self) -> Option<Call> {
        for offset in 0..4 {
            let turn = (self.turn + offset) % 4;
            if let Some(call) = self.waiting[turn].pop_front() {
                self.turn = (turn + 1) % 4;
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
                self.waiting[self.world.nodes[call.0].resource].push_back(call);
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
            self.waiting[*resource].push_back((node, page + 1, 0));
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

/// What is simulated, and how often.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    shape: Shape,
    alike: f64,
    weather: Weather,
    /// Whether an earlier run was complete.
    history: History,
    seeds: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum History {
    First,
    Again,
}

/// How the estimates of a case were.
struct Measured {
    /// Runs in which every estimate held the end.
    whole: u64,
    /// Estimates that held it, of all.
    held: usize,
    all: usize,
    /// Median of the range's width at 10, 25, 50 and 90 % of the calls, as a part of the run's whole time.
    widths: [f64; 4],
    /// Estimated time over true time at 10 %: least, median, most.
    ratio: [f64; 3],
    missed: Vec<String>,
}

impl Case {
    /// From which part of the calls on the end is to be held: what nobody can foresee has happened then.
    fn from(self) -> f64 {
        match self.weather {
            Weather::Fair => 0.1,
            Weather::Halved => 0.55,
            Weather::Outage => 0.36,
        }
    }

    fn measure(self) -> Measured {
        let mut measured =
            Measured { whole: 0, held: 0, all: 0, widths: [0.0; 4], ratio: [0.0; 3], missed: Vec::new() };
        let mut widths: [Vec<f64>; 4] = Default::default();
        let mut ratios = Vec::new();
        let from = number("ETA_FROM", 1);
        for seed in from..from + self.seeds {
            let history = match self.history {
                History::First => Vec::new(),
                History::Again => vec![earlier(self.shape, self.alike, seed)],
            };
            let samples = samples(self.shape, self.alike, seed, self.weather, &history);
            let counted: Vec<&Sample> = samples.iter().filter(|sample| sample.part >= self.from()).collect();
            let missed = counted.iter().filter(|sample| !(sample.min..=sample.max).contains(&sample.truth));
            let missed: Vec<String> = missed.map(|sample| format!("seed {seed}, {sample}")).collect();
            measured.whole += u64::from(missed.is_empty());
            measured.all += counted.len();
            measured.held += counted.len() - missed.len();
            measured.missed.extend(missed);
            for (index, part) in [0.1, 0.25, 0.5, 0.9].into_iter().enumerate() {
                if let Some(sample) = samples.iter().find(|sample| sample.part >= part) {
                    widths[index].push((sample.max - sample.min) / (sample.at + sample.truth));
                }
            }
            ratios.extend(samples.first().map(|sample| sample.likely / sample.truth));
        }
        let ordered = |mut numbers: Vec<f64>| {
            numbers.sort_by(f64::total_cmp);
            [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
        };
        measured.ratio = ordered(ratios);
        measured.widths = widths.map(|widths| ordered(widths)[1]);
        if std::env::var("ETA_REPORT").is_ok() {
            println!("{self}: {measured}");
        }
        measured
    }

    /// Measures, and fails unless the end was held in nine of ten runs and the range narrowed.
    fn holds(self) {
        let measured = self.measure();
        assert!(measured.whole * 10 >= self.seeds * 9, "{self}: {measured}\n{}", measured.missed.join("\n"));
        let [tenth, _, half, end] = measured.widths;
        assert!(half < tenth && end < half, "{self}: {measured}");
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { part, min, max, likely, truth, .. } = self;
        write!(f, "at {part:.2} of the calls: {truth:.1} s were left; {likely:.1} ({min:.1} to {max:.1}) were told")
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weather = match self.weather {
            Weather::Fair => "fair",
            Weather::Halved => "limit halved",
            Weather::Outage => "outage",
        };
        let history = if self.history == History::First { "first run" } else { "second run" };
        write!(f, "| {} | {weather} | {history} | {}", self.name, self.alike)
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d] = self.widths;
        let [low, middle, high] = self.ratio;
        let samples = 100.0 * self.held as f64 / self.all as f64;
        write!(
            f,
            "| {} | {samples:.1} % | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {middle:.2} ({low:.2} to {high:.2}) |",
            self.whole
        )
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Sizes that are simulated: all with `ETA_REPORT`, else those that take a second or two.
fn cases(weather: Weather, alike: f64) -> impl Iterator<Item = Case> {
    let sizes = if std::env::var("ETA_REPORT").is_ok() { 4 } else { 2 };
    let seeds = number("ETA_SEEDS", 20);
    SHAPES.into_iter().take(sizes).flat_map(move |(name, shape)| {
        [History::First, History::Again].map(|history| Case { name, shape, alike, weather, history, seeds })
    })
}

#[test]
fn the_range_holds_the_end_of_nine_runs_of_ten_from_a_tenth_of_the_calls_on() {
    cases(Weather::Fair, 0.25).for_each(Case::holds);
}

#[test]
fn it_does_where_neighbours_are_strangers() {
    cases(Weather::Fair, 0.0).for_each(Case::holds);
}

#[test]
fn it_does_again_after_the_vendors_limit_fell_by_half() {
    cases(Weather::Halved, 0.25).for_each(Case::holds);
}

#[test]
fn it_does_again_after_an_outage() {
    cases(Weather::Outage, 0.25).for_each(Case::holds);
}

#[test]
fn an_earlier_run_makes_the_range_narrower() {
    for (name, shape) in SHAPES.into_iter().take(2) {
        let case = |history| Case { name, shape, alike: 0.25, weather: Weather::Fair, history, seeds: 20 };
        let (first, again) = (case(History::First).measure(), case(History::Again).measure());
        assert!(again.widths[0] < first.widths[0] * 0.8, "{name}: {first} {again}");
    }
}

/// A vendor whose groups differ by much, a few of them much alike in a row: more than the range allows for, in a first run.
#[test]
fn strongly_alike_neighbours_are_held_once_a_run_is_known() {
    cases(Weather::Fair, 0.4).filter(|case| case.history == History::Again).for_each(Case::holds);
    if std::env::var("ETA_REPORT").is_ok() {
        cases(Weather::Fair, 0.4).filter(|case| case.history == History::First).for_each(|case| drop(case.measure()));
    }
}
