//! Drives queues with random operations, and holds them against the model.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use weir_env::Random;
use weir_queue::limits::DEDUPLICATION;
use weir_queue::{
    DeadLetter, DeadLetterTo, Message, MoveStatus, Queue, Queues, ReceiptHandle, Receive, Received, SentOnce, Settings,
    Stamp, Tuning,
};
use weir_types::{SequenceNumber, Timestamp};

use crate::model::{Model, Msg, Place, Span, number};
use crate::support::{World, dead_letters, fifo, name, settle_down, standard};

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

/// Asks until the log takes it: what was refused has changed nothing.
async fn insist<T, E: std::fmt::Debug>(ask: impl AsyncFn() -> Result<T, E>) -> T {
    let mut refused = None;
    for _ in 0..20 {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => refused = Some(error),
        }
    }
    panic!("refused time and again: {refused:?}");
}

pub struct Driver {
    world: World,
    random: Random,
    queues: Option<Arc<Queues>>,
    model: Model,
    stamps: BTreeMap<(&'static str, String), u64>,
    done: Vec<String>,
}

impl Driver {
    /// Runs so many operations, and looks for every message at the end.
    pub async fn run(seed: u64, operations: usize) {
        let world = World::flaky(seed, tuning());
        let mut model = Model::default();
        let queues = world.open().await;
        for queue in QUEUES {
            let settings = match queue {
                "dead.fifo" => fifo(),
                "work" => dead_letters(standard(), 3, "dead"),
                "line.fifo" => dead_letters(fifo(), 2, "dead.fifo"),
                "table" => {
                    let dead_letter = DeadLetter { max_receives: 2, to: DeadLetterTo::Table };
                    Settings { dead_letter: Some(dead_letter), ..standard() }
                }
                "brief" => Settings { retention: BRIEF, ..standard() },
                _ => standard(),
            };
            queues.create(name(queue), settings.clone(), BTreeMap::new()).await.unwrap();
            model.add_queue(queue, settings);
        }
        let random = Random::seeded(seed ^ 0x5eed);
        let mut driver = Self { world, random, queues: Some(queues), model, stamps: BTreeMap::new(), done: Vec::new() };
        let all = AssertUnwindSafe(driver.operate(operations)).catch_unwind().await;
        if all.is_err() {
            let last = driver.done.iter().rev().take(LAST).rev().cloned().collect::<Vec<_>>().join("\n  ");
            panic!("seed {seed}, after {} operations; the last of them:\n  {last}", driver.done.len());
        }
    }

    async fn operate(&mut self, operations: usize) {
        for _ in 0..operations {
            self.operation().await;
            // Carriers, snapshots and timers come as far as chance has it.
            for _ in 0..self.below(12) {
                tokio::task::yield_now().await;
            }
        }
        self.drain().await;
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
            84..90 => {
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

    /// Makes a message, and takes it into the model as one that is sent now.
    fn message(&mut self, queue: &'static str, place: Place, now: Span) -> (u64, Message) {
        self.model.last_body += 1;
        let number = self.model.last_body;
        let padding = if self.below(8) == 0 { 900 } else { self.below(60) };
        let body = format!("{number} {}", "x".repeat(padding as usize));
        let fifo = queue.ends_with(".fifo");
        let group = (fifo || self.below(2) == 0).then(|| format!("g{}", self.below(4)));
        let deduplication = fifo.then(|| {
            // Some ids come again; a send that nobody waits for has its own, for nobody could tell which one it repeats.
            let known = matches!(place, Place::In(_)) && self.below(3) == 0;
            if known { format!("d{}", self.below(6)) } else { format!("n{number}") }
        });
        let delay = (!fifo && self.below(4) == 0).then(|| Duration::from_secs(self.below(90)));
        let visible = match delay {
            Some(delay) if !delay.is_zero() => now.after(delay),
            _ => Span::LONG_AGO,
        };
        let order = self.model.next_order();
        let msg = Msg {
            place,
            id: None,
            body: body.clone(),
            group: group.clone(),
            deduplication: deduplication.clone(),
            source: None,
            sent: now,
            delay: delay.unwrap_or_default(),
            visible,
            count: 0,
            receipt: None,
            stale: Vec::new(),
            order,
        };
        self.model.messages.insert(number, msg);
        (number, Message { body: body.into(), group, deduplication, delay, ..Message::default() })
    }

    fn batch(&mut self, queue: &'static str, place: Place, now: Span) -> (Vec<u64>, Vec<Message>) {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.message(queue, place, now)).unzip()
    }

    async fn send(&mut self) {
        let queue = self.target();
        let now = self.now(queue);
        let (numbers, messages) = self.batch(queue, Place::In(queue), now);
        self.note(format!("send {numbers:?} to {queue}"));
        let target = self.queue(queue);
        let sent = insist(async || target.send(messages.clone()).await).await;
        assert_eq!(sent.len(), numbers.len());
        // Nothing but repeats leaves nothing in the log.
        let mut stored = false;
        for ((number, message), sent) in numbers.into_iter().zip(messages).zip(sent) {
            let Some(deduplication) = message.deduplication else {
                stored = true;
                self.model.learn_id(number, sent.id);
                continue;
            };
            let of = self.model.queues.get_mut(queue).unwrap();
            let first = of.repeats.get(&deduplication).copied();
            let unknown = of.unknown_repeats.contains(&deduplication);
            let repeated = first.is_some_and(|(id, _)| id == sent.id);
            if let Some((_, at)) = first
                && !unknown
            {
                assert!(repeated || at.after(DEDUPLICATION).perhaps_before(now), "{queue}: {number} is a repeat");
                assert!(!repeated || !at.after(DEDUPLICATION).surely_before(now), "{queue}: {number} is no repeat");
            }
            // A repeat of a message whose id is not remembered here has an id that was seen before.
            let repeated = repeated || (unknown && self.model.messages.values().any(|msg| msg.id == Some(sent.id)));
            if repeated {
                self.model.messages.remove(&number);
                continue;
            }
            let of = self.model.queues.get_mut(queue).unwrap();
            of.unknown_repeats.remove(&deduplication);
            of.repeats.insert(deduplication, (sent.id, now));
            self.model.learn_id(number, sent.id);
            stored = true;
        }
        if stored {
            self.model.stored(queue, now);
        }
    }

    /// Sends, waits for a while, and crashes: the messages are there, or none of them is.
    async fn send_and_go_away(&mut self) {
        let queue = self.target();
        let now = self.now(queue);
        self.model.last_send += 1;
        let send = self.model.last_send;
        let (numbers, messages) = self.batch(queue, Place::Perhaps(queue, send), now);
        self.note(format!("send {numbers:?} to {queue}, and crash"));
        let target = self.queue(queue);
        {
            let mut sending = std::pin::pin!(target.send(messages));
            for _ in 0..self.below(6) {
                match sending.as_mut().now_or_never() {
                    None => tokio::task::yield_now().await,
                    Some(Ok(_)) => {
                        self.model.found(send);
                        self.model.stored(queue, now);
                        break;
                    }
                    // Refused: nothing of it is ever found.
                    Some(Err(_)) => {
                        for number in &numbers {
                            self.model.messages.remove(number);
                        }
                        break;
                    }
                }
            }
        }
        drop(target);
        self.crash().await;
    }

    async fn everything(&self, queue: &str) -> Vec<Received> {
        let queue = self.queue(queue);
        insist(async || queue.browse(SequenceNumber(0), 100_000).await).await
    }

    /// Looks whether sends that nobody waited for were stored: all of each, or nothing.
    async fn resolve(&mut self, queue: &'static str) {
        let found = self.everything(queue).await;
        let found: Vec<u64> = found.iter().map(number).collect();
        let mut sends: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (number, msg) in &self.model.messages {
            if let Place::Perhaps(place, send) = msg.place
                && place == queue
            {
                sends.entry(send).or_default().push(*number);
            }
        }
        for (send, numbers) in sends {
            let there = numbers.iter().filter(|number| found.contains(number)).count();
            assert!(
                there == 0 || there == numbers.len(),
                "{queue} has {there} of {numbers:?}, which were sent together"
            );
            if there > 0 {
                self.model.found(send);
            } else {
                for number in numbers {
                    self.model.messages.remove(&number);
                }
            }
        }
    }

    async fn send_once(&mut self) {
        let queue = self.pick(&["work", "table"]);
        let producer = self.pick(&["p0", "p1"]).to_owned();
        let last = self.stamps.get(&(queue, producer.clone())).copied().unwrap_or(0);
        let repeat = last > 0 && self.below(2) == 0;
        let number = if repeat { last - self.below(last.min(3)) } else { last + 1 + self.below(3) };
        let now = self.now(queue);
        let (numbers, messages) = self.batch(queue, Place::In(queue), now);
        self.note(format!("send {numbers:?} to {queue} as {number} of {producer}"));
        assert_eq!(self.queue(queue).last_stamp(&producer), (last > 0).then_some(last));
        let stamp = Stamp { producer: producer.clone(), number };
        let target = self.queue(queue);
        match insist(async || target.send_once(stamp.clone(), messages.clone()).await).await {
            SentOnce::Stored(sent) => {
                assert!(!repeat, "{queue}: {number} of {producer} is stored twice");
                for (number, sent) in numbers.into_iter().zip(sent) {
                    self.model.learn_id(number, sent.id);
                }
                self.model.stored(queue, now);
                self.stamps.insert((queue, producer), number);
            }
            SentOnce::Repeated => {
                assert!(repeat, "{queue}: {number} of {producer} is new");
                for number in numbers {
                    self.model.messages.remove(&number);
                }
            }
        }
    }

    async fn receive(&mut self) {
        let queue =
            self.pick(&["work", "work", "work", "line.fifo", "line.fifo", "table", "brief", "dead", "dead.fifo"]);
        let max = self.pick(&[1, 1, 2, 3, 10, 10, 100]);
        let hidden_for = Duration::from_secs(self.pick(&[0, 1, 5, 30, 30, 60, 300]));
        self.receive_from(queue, max, hidden_for).await;
    }

    async fn receive_from(&mut self, queue: &'static str, max: usize, hidden_for: Duration) -> Vec<Received> {
        let now = self.now(queue);
        let least = self.model.surely_ready(queue, now).min(max);
        self.note(format!("receive {max} from {queue} for {hidden_for:?}, at least {least}"));
        let receive = Receive { max, hidden_for, wait: Duration::ZERO, attempt: None };
        let source = self.queue(queue);
        let received = insist(async || source.receive(receive.clone()).await).await;
        let numbers: Vec<u64> = received.iter().map(number).collect();
        self.note(format!("  -> {numbers:?}"));
        assert!(received.len() <= max);
        // Dead letters on their way can't be counted on, but what is here already can.
        assert!(received.len() >= least, "{queue}: {least} are ready, and {numbers:?} came");
        if !received.is_empty() {
            self.model.stored(queue, now);
        }
        self.model.received(queue, &received, hidden_for, now);
        received
    }

    /// A receipt, its message and whether it is the message's last one.
    fn receipt(&self) -> Option<(u64, ReceiptHandle, bool)> {
        let known: Vec<(u64, &Msg)> = self.model.messages.iter().map(|(number, msg)| (*number, msg)).collect();
        let with: Vec<_> = known.into_iter().filter(|(_, msg)| msg.receipt.is_some()).collect();
        if with.is_empty() {
            return None;
        }
        let (number, msg) = with[self.below(with.len() as u64) as usize];
        if !msg.stale.is_empty() && self.below(4) == 0 {
            return Some((number, msg.stale[self.below(msg.stale.len() as u64) as usize].clone(), false));
        }
        Some((number, msg.receipt.clone().unwrap(), true))
    }

    /// Makes sure of where a message is: one that may have been given up has been, then.
    async fn make_sure(&mut self, message: u64) -> Option<&'static str> {
        let Place::In(queue) = self.model.messages[&message].place else { return None };
        let now = self.now(queue);
        if self.model.perhaps_given_up(&self.model.messages[&message], now) {
            self.quiesce().await;
        }
        match self.model.messages[&message].place {
            Place::In(now_in) if now_in == queue => Some(queue),
            _ => None,
        }
    }

    async fn delete(&mut self) {
        let Some((message, receipt, last)) = self.receipt() else { return };
        let Some(queue) = self.make_sure(message).await else { return };
        let now = self.now(queue);
        self.note(format!("delete {message} of {queue}, last receipt: {last}"));
        let source = self.queue(queue);
        let outcome = insist(async || source.delete(vec![receipt.clone()]).await).await.remove(0);
        let msg = &self.model.messages[&message];
        if self.model.perhaps_expired(msg, queue, now) {
            // With a stale receipt that works if the message has grown too old and is gone.
            if outcome.is_ok() {
                self.model.messages.get_mut(&message).unwrap().place = Place::Gone;
            }
            return;
        }
        let given_up = self.model.perhaps_given_up(msg, now);
        assert_eq!(outcome.is_ok(), last && !given_up, "{queue}: deleting {message}: {outcome:?}, {msg:?}");
        if outcome.is_ok() {
            self.model.stored(queue, now);
            self.model.messages.get_mut(&message).unwrap().place = Place::Gone;
        }
        let other = if queue == "dead" { "work" } else { "dead" };
        let foreign = self.queue(other).delete(vec![receipt]).await.unwrap().remove(0);
        assert!(foreign.is_err(), "a receipt of {queue} is none of {other}");
    }

    async fn hide(&mut self) {
        let Some((message, receipt, last)) = self.receipt() else { return };
        let Some(queue) = self.make_sure(message).await else { return };
        let now = self.now(queue);
        let span = Duration::from_secs(self.pick(&[0, 0, 1, 10, 60, 200]));
        self.note(format!("hide {message} of {queue} for {span:?}, last receipt: {last}"));
        let source = self.queue(queue);
        let outcome = insist(async || source.hide(vec![(receipt.clone(), span)]).await).await.remove(0);
        let msg = &self.model.messages[&message];
        let (perhaps_over, surely_over) = (msg.visible.perhaps_before(now), msg.visible.surely_before(now));
        if outcome.is_ok() {
            assert!(last && !surely_over, "{queue}: hiding {message} anew: {msg:?} at {now:?}");
            self.model.stored(queue, now);
            let msg = self.model.messages.get_mut(&message).unwrap();
            msg.visible = if span.is_zero() { Span::LONG_AGO } else { now.after(span) };
        } else {
            let expired = self.model.perhaps_expired(msg, queue, now);
            assert!(
                !last || perhaps_over || expired,
                "{queue}: {message} is in flight: {outcome:?} {msg:?} at {now:?}"
            );
        }
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

    fn jump(&mut self) {
        let now = self.wall().0;
        let to = if self.below(2) == 0 { now - self.below(40_000) as i64 } else { now + self.below(200_000) as i64 };
        self.note(format!("the clock is set from {} to {}", now % 1_000_000_000, to % 1_000_000_000));
        self.world.clock.jump(Timestamp(to));
        self.model.high = self.model.high.max(now).max(to);
    }

    async fn settle(&mut self) {
        let queue = self.pick(&["work", "line.fifo", "table", "dead"]);
        let known: Vec<u64> =
            self.model.of(queue).filter(|(_, msg)| msg.id.is_some()).map(|(number, _)| number).collect();
        if known.is_empty() {
            return;
        }
        let message = self.pick(&known);
        if self.make_sure(message).await != Some(queue) {
            return;
        }
        self.note(format!("settle {message} of {queue}"));
        let now = self.now(queue);
        let id = self.model.messages[&message].id.unwrap();
        let source = self.queue(queue);
        insist(async || source.settle(vec![id, id]).await).await;
        self.model.stored(queue, now);
        self.model.messages.get_mut(&message).unwrap().place = Place::Gone;
    }

    /// Asks for the messages that `table` has given up.
    async fn exhausted(&mut self) {
        let now = self.now("table");
        let given_up = |msg: &Msg| msg.count >= 2 && msg.visible.surely_before(now);
        let expected: Vec<u64> =
            self.model.of("table").filter(|(_, msg)| given_up(msg)).map(|(number, _)| number).collect();
        self.note(format!("exhausted of table, at least {expected:?}"));
        let table = self.queue("table");
        let mut asked = std::pin::pin!(table.exhausted(1000));
        let mut found = None;
        for look in 0..1000 {
            found = asked.as_mut().now_or_never();
            if found.is_some() || (expected.is_empty() && look > 100) {
                break;
            }
            if look % 200 == 199 {
                self.pass(Duration::from_millis(250));
            }
            tokio::task::yield_now().await;
        }
        let now = self.now("table");
        let found = found.map(Result::unwrap).unwrap_or_default();
        let numbers: Vec<u64> = found.iter().map(number).collect();
        self.note(format!("  -> {numbers:?}"));
        assert!(expected.iter().all(|number| numbers.contains(number)), "{expected:?} are given up, {numbers:?} came");
        for (message, received) in numbers.iter().zip(&found) {
            let msg = &self.model.messages[message];
            assert!(self.model.perhaps_given_up(msg, now), "{message} is not given up: {msg:?}");
            assert_eq!((received.receive_count, Some(received.id)), (msg.count, msg.id), "{message}");
            assert_eq!(received.body, msg.body.as_bytes());
        }
        if !numbers.is_empty() && self.below(2) == 0 {
            self.note(format!("  settle {numbers:?}"));
            let ids: Vec<_> = found.iter().map(|received| received.id).collect();
            insist(async || table.settle(ids.clone()).await).await;
            for message in numbers {
                self.model.messages.get_mut(&message).unwrap().place = Place::Gone;
            }
            self.model.stored("table", now);
        }
    }

    async fn browse(&mut self) {
        self.quiesce().await;
        let queue = self.pick(&QUEUES);
        let now = self.now(queue);
        self.note(format!("browse {queue}"));
        let found = self.everything(queue).await;
        let mut numbers: Vec<u64> = found.iter().map(number).collect();
        numbers.sort_unstable();
        let sure = self.model.of(queue).filter(|(_, msg)| !self.model.perhaps_expired(msg, queue, now));
        for (number, _) in sure {
            assert!(numbers.binary_search(&number).is_ok(), "{queue} lacks {number}");
        }
        for number in numbers {
            let place = self.model.messages[&number].place;
            let here = matches!(place, Place::In(place) | Place::Perhaps(place, _) if place == queue);
            assert!(here, "{queue} has {number}, which is {place:?}");
        }
    }

    async fn purge(&mut self) {
        self.quiesce().await;
        let queue = self.pick(&QUEUES);
        self.note(format!("purge {queue}"));
        let now = self.now(queue);
        let source = self.queue(queue);
        insist(async || source.purge().await).await;
        self.model.stored(queue, now);
        // What is given up belongs to the dead letters, and stays.
        let given_up = |msg: &Msg| self.model.perhaps_given_up(msg, now);
        let kept: Vec<u64> = self.model.of(queue).filter(|(_, msg)| given_up(msg)).map(|(number, _)| number).collect();
        for (number, msg) in &mut self.model.messages {
            let here = matches!(msg.place, Place::In(place) | Place::Perhaps(place, _) if place == queue);
            if here && !kept.contains(number) {
                msg.place = Place::Gone;
            }
        }
        let of = self.model.queues.get_mut(queue).unwrap();
        of.unknown_repeats = of.repeats.keys().cloned().collect();
    }

    /// Lets the clocks agree and everything that is due be done, and checks that the queues hold what the model does.
    async fn quiesce(&mut self) {
        self.note("quiesce".into());
        self.world.clock.jump(Timestamp(self.model.high.max(self.wall().0)));
        // A bit more: what is due at this very moment is due then. And longer, if a lease of which nobody knows the end may
        // have given a message up.
        self.pass(Duration::from_millis(2));
        while let Some(until) = self.unsure_until() {
            self.pass(Duration::from_millis((until - self.wall().0) as u64 + 2));
        }
        for queue in COUNTED {
            self.resolve(queue).await;
        }
        let mut differing = String::new();
        for look in 0..LOOKS_MAX {
            self.give_up_all();
            match self.difference() {
                None => return,
                Some(difference) => differing = difference,
            }
            if look % 200 == 199 {
                // What a full disk has delayed is tried again.
                self.pass(Duration::from_millis(250));
            }
            tokio::task::yield_now().await;
        }
        panic!("queues and model differ: {differing}");
    }

    /// When the last lease ends that may have ended already, of those that may give their message up.
    fn unsure_until(&self) -> Option<i64> {
        let now = Span { low: self.wall().0, high: self.model.high };
        let unsure = |msg: &&Msg| self.model.perhaps_given_up(msg, now) && !msg.visible.surely_before(now);
        self.model.messages.values().filter(unsure).map(|msg| msg.visible.high).max()
    }

    /// Takes over that what is due has gone to the dead-letter queues.
    fn give_up_all(&mut self) {
        let wall = self.wall();
        for queue in QUEUES {
            let now = self.model.now(queue, wall);
            if self.model.dead_letter_queue(queue).is_some() {
                let of: Vec<u64> = self.model.of(queue).map(|(number, _)| number).collect();
                for number in of {
                    if self.model.perhaps_given_up(&self.model.messages[&number], now) {
                        self.model.give_up(number);
                    }
                }
            }
        }
    }

    /// Tells which queues hold another number of messages than they should.
    fn difference(&self) -> Option<String> {
        let mut differing = Vec::new();
        for queue in COUNTED {
            let count = self.model.of(queue).count() as u64;
            let stats = self.queue(queue).stats();
            let total = stats.ready + stats.in_flight + stats.delayed + stats.exhausted;
            let now = Span { low: self.wall().0, high: self.model.high };
            let given_up = self.model.of(queue).filter(|(_, msg)| self.model.perhaps_given_up(msg, now)).count();
            if count != total || stats.exhausted != given_up as u64 {
                differing.push(format!("{queue} should hold {count}, with {given_up} given up: {stats:?}"));
            }
        }
        (!differing.is_empty()).then(|| differing.join("\n"))
    }

    async fn start_move(&mut self) {
        let (source, to) =
            self.pick(&[("dead", None), ("dead.fifo", None), ("dead", Some("brief")), ("dead", Some("table"))]);
        self.quiesce().await;
        let now = self.now(source);
        let mut moved: Vec<u64> = {
            let ready = |msg: &Msg| msg.visible.surely_before(now) && !self.model.perhaps_expired(msg, source, now);
            self.model.of(source).filter(|(_, msg)| ready(msg)).map(|(number, _)| number).collect()
        };
        self.note(format!("move {moved:?} of {source} to {to:?}"));
        let id = self.queues().start_move(&name(source), to.map(name), None, None).await.unwrap();
        for _ in 0..self.below(30) {
            tokio::task::yield_now().await;
        }
        if self.below(2) == 0 {
            self.note("crash while messages are moved".into());
            self.crash().await;
        }
        let mut status = MoveStatus::Running;
        for look in 0..LOOKS_MAX {
            if look % 200 == 199 {
                self.pass(Duration::from_millis(250));
            }
            status = self.queues().moves(&name(source)).into_iter().find(|known| known.id == id).unwrap().status;
            if status != MoveStatus::Running {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(matches!(status, MoveStatus::Completed | MoveStatus::Failed), "{status:?}");
        let after = self.now(source);
        moved.extend(self.moved_late(source, now, after).await);
        let high = after.high;
        let order = self.model.next_order();
        for number in moved {
            let msg = self.model.messages.get_mut(&number).unwrap();
            // What nobody can tell the target of is put back, as it was sent.
            if let Some(to) = to.or(msg.source) {
                (msg.place, msg.source) = (Place::In(to), None);
                msg.sent = Span { low: now.low, high };
            }
            (msg.count, msg.receipt, msg.order, msg.delay) = (0, None, order, Duration::ZERO);
            msg.stale.clear();
            msg.visible = Span::LONG_AGO;
            if let (Place::In(place), Some(deduplication)) = (msg.place, msg.deduplication.clone()) {
                self.model.queues.get_mut(place).unwrap().unknown_repeats.insert(deduplication);
            }
        }
        self.quiesce().await;
    }

    /// Finds what became ready while a move was under way, and was moved too, or put back.
    async fn moved_late(&self, source: &'static str, began: Span, ended: Span) -> Vec<u64> {
        let left = self.everything(source).await;
        let left: BTreeMap<u64, u32> = left.iter().map(|left| (number(left), left.receive_count)).collect();
        let late = |msg: &Msg| !msg.visible.surely_before(began) && msg.visible.perhaps_before(ended);
        let found = self.model.of(source).filter(|(number, msg)| late(msg) && left.get(number) != Some(&msg.count));
        found.map(|(number, _)| number).collect()
    }

    async fn crash(&mut self) {
        self.queues = None;
        self.model.crash();
        settle_down().await;
        if self.below(4) == 0
            && let Some(damaged) = self.world.damage_a_snapshot(self.random.next()).await
        {
            self.note(format!("damage {damaged}"));
        }
        self.queues = Some(self.world.open().await);
    }

    async fn restart(&mut self) {
        if self.below(2) == 0 {
            self.note("close and open".into());
            self.queues().close().await;
        } else {
            self.note("crash and open".into());
        }
        self.crash().await;
    }

    /// Receives and deletes everything: what is left in the model then is lost.
    async fn drain(&mut self) {
        self.restart().await;
        for _ in 0..40 {
            self.quiesce().await;
            self.pass(Duration::from_secs(301));
            self.quiesce().await;
            let table = self.model.of("table").map(|(_, msg)| msg.id);
            let table: Vec<_> = table.flatten().collect();
            let source = self.queue("table");
            insist(async || source.settle(table.clone()).await).await;
            for msg in self.model.messages.values_mut() {
                if msg.place == Place::In("table") && msg.id.is_some() {
                    msg.place = Place::Gone;
                }
            }
            let mut any = false;
            for queue in QUEUES {
                loop {
                    let received = self.receive_from(queue, 10, Duration::from_secs(30)).await;
                    if received.is_empty() {
                        break;
                    }
                    any = true;
                    let receipts: Vec<_> = received.iter().map(|received| received.receipt.clone()).collect();
                    let source = self.queue(queue);
                    let outcomes = insist(async || source.delete(receipts.clone()).await).await;
                    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
                    for received in &received {
                        self.model.messages.get_mut(&number(received)).unwrap().place = Place::Gone;
                    }
                }
            }
            if !any {
                break;
            }
        }
        for queue in QUEUES {
            let now = self.now(queue);
            let lost = self.model.of(queue).filter(|(_, msg)| !self.model.perhaps_expired(msg, queue, now));
            let lost: Vec<u64> = lost.map(|(number, _)| number).collect();
            assert!(lost.is_empty(), "{queue} has lost {lost:?}");
        }
    }
}
