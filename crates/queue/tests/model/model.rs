//! What must be true of queues, as simply as it can be said: one list of messages, and what is known of each.
//!
//! A queue's clock never goes back, and goes on by itself while the wall clock is behind; after a crash it goes on from what
//! was stored last. So the model can't know it: it keeps the least (`low`) and the most (`high`) that it can show, and says
//! "surely" and "perhaps". While nobody sets the wall clock back, the two are one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_queue::{DeadLetterTo, MessageId, ReceiptHandle, Received, Settings};

use weir_types::Timestamp;

/// A time that has always passed.
pub const LONG_AGO: i64 = i64::MIN;

/// Bounds of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub low: i64,
    pub high: i64,
}

impl Span {
    pub const LONG_AGO: Self = Self { low: LONG_AGO, high: LONG_AGO };

    /// What is so much later; nothing at all is long ago.
    pub fn after(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap();
        Self { low: self.low.saturating_add(span), high: self.high.saturating_add(span) }
    }

    /// Surely before `now`. At the very moment nobody can tell.
    pub fn surely_before(self, now: Self) -> bool {
        self.high < now.low
    }

    pub fn perhaps_before(self, now: Self) -> bool {
        self.low <= now.high
    }
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In this queue.
    In(&'static str),
    /// In this queue, if the send that nobody waited for was stored: all of that send, or nothing.
    Perhaps(&'static str, u64),
    /// Nowhere.
    Gone,
}

#[derive(Debug, Clone)]
pub struct Msg {
    pub place: Place,
    /// Known once somebody has told.
    pub id: Option<MessageId>,
    pub body: String,
    pub group: Option<String>,
    pub deduplication: Option<String>,
    pub source: Option<&'static str>,
    pub sent: Span,
    /// It grows old from when this is over.
    pub delay: Duration,
    /// When it can be received.
    pub visible: Span,
    pub count: u32,
    pub receipt: Option<ReceiptHandle>,
    pub stale: Vec<ReceiptHandle>,
    /// Place in the order of its queue. What is moved together has one: nobody has seen its order.
    pub order: u64,
}

#[derive(Debug)]
pub struct QueueModel {
    pub settings: Settings,
    /// The least that its clock shows.
    low: i64,
    /// The least that it shows after a crash.
    low_stored: i64,
    /// Ids by which repeats are recognised, with what came of the first one and when.
    pub repeats: BTreeMap<String, (MessageId, Span)>,
    /// Ids of which nothing is known for a while.
    pub unknown_repeats: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub struct Model {
    pub queues: BTreeMap<&'static str, QueueModel>,
    /// By the number that the body begins with.
    pub messages: BTreeMap<u64, Msg>,
    pub last_body: u64,
    last_order: u64,
    pub last_send: u64,
    /// The most that any clock shows.
    pub high: i64,
    ids: BTreeSet<MessageId>,
}

impl Model {
    pub fn add_queue(&mut self, name: &'static str, settings: Settings) {
        let (repeats, unknown_repeats) = (BTreeMap::new(), BTreeSet::new());
        self.queues
            .insert(name, QueueModel { settings, low: LONG_AGO, low_stored: LONG_AGO, repeats, unknown_repeats });
    }

    /// What a queue's clock shows when it decides now.
    pub fn now(&mut self, queue: &str, wall: Timestamp) -> Span {
        self.high = self.high.max(wall.0);
        Span { low: self.queues[queue].low.max(wall.0), high: self.high }
    }

    /// The queue has stored something: its clock does not go behind that.
    pub fn stored(&mut self, queue: &str, now: Span) {
        let queue = self.queues.get_mut(queue).unwrap();
        queue.low = queue.low.max(now.low);
        queue.low_stored = queue.low;
    }

    /// Time passes, by all clocks.
    pub fn pass(&mut self, span: Duration, wall: Timestamp) {
        let span = i64::try_from(span.as_millis()).unwrap();
        self.high = self.high.saturating_add(span).max(wall.0);
        for queue in self.queues.values_mut() {
            queue.low = queue.low.saturating_add(span);
        }
    }

    /// All queues begin anew with what they have stored.
    pub fn crash(&mut self) {
        for queue in self.queues.values_mut() {
            queue.low = queue.low_stored;
        }
    }

    pub fn next_order(&mut self) -> u64 {
        self.last_order += 1;
        self.last_order
    }

    pub fn max_receives(&self, queue: &str) -> u32 {
        self.queues[queue].settings.dead_letter.as_ref().map_or(u32::MAX, |dead_letter| dead_letter.max_receives)
    }

    pub fn dead_letter_queue(&self, queue: &str) -> Option<&'static str> {
        let dead_letter = self.queues[queue].settings.dead_letter.as_ref()?;
        let DeadLetterTo::Queue(to) = &dead_letter.to else { return None };
        self.queues.keys().copied().find(|name| *name == to.as_str())
    }

    fn is_fifo(&self, queue: &str) -> bool {
        self.queues[queue].settings.fifo.is_some()
    }

    /// A message id that was given for a new message.
    pub fn learn_id(&mut self, number: u64, id: MessageId) {
        assert!(self.ids.insert(id), "id {id} is given twice");
        self.messages.get_mut(&number).unwrap().id = Some(id);
    }

    pub fn perhaps_expired(&self, msg: &Msg, queue: &str, now: Span) -> bool {
        msg.sent.after(msg.delay + self.queues[queue].settings.retention).perhaps_before(now)
    }

    fn surely_expired(&self, msg: &Msg, queue: &str, now: Span) -> bool {
        msg.sent.after(msg.delay + self.queues[queue].settings.retention).surely_before(now)
    }

    /// Whether a message may be given up by its queue at this moment.
    pub fn perhaps_given_up(&self, msg: &Msg, now: Span) -> bool {
        match msg.place {
            Place::In(queue) => msg.count >= self.max_receives(queue) && msg.visible.perhaps_before(now),
            Place::Perhaps(..) | Place::Gone => false,
        }
    }

    /// The messages of a queue that must come with the next receive, if it asks for enough.
    pub fn surely_ready(&self, queue: &str, now: Span) -> usize {
        let ready = |msg: &Msg| {
            msg.visible.surely_before(now)
                && msg.count < self.max_receives(queue)
                && !self.perhaps_expired(msg, queue, now)
        };
        if !self.is_fifo(queue) {
            return self.of(queue).filter(|(_, msg)| ready(msg)).count();
        }
        let mut groups: BTreeMap<&str, Vec<&Msg>> = BTreeMap::new();
        for msg in self.messages.values() {
            if matches!(msg.place, Place::In(place) | Place::Perhaps(place, _) if place == queue) {
                groups.entry(msg.group.as_deref().unwrap()).or_default().push(msg);
            }
        }
        let known = groups.into_values().filter(|group| {
            // A lease that may last, or a message that may or may not be there, says nothing for sure.
            group.iter().all(|msg| {
                let leased = msg.receipt.is_some() && !msg.visible.surely_before(now);
                !leased && matches!(msg.place, Place::In(_))
            })
        });
        let lengths = known.map(|mut group| {
            group.sort_by_key(|msg| msg.order);
            group.iter().take_while(|msg| ready(msg)).count()
        });
        lengths.sum()
    }

    pub fn of(&self, queue: &str) -> impl Iterator<Item = (u64, &Msg)> {
        let here = move |msg: &Msg| matches!(msg.place, Place::In(place) if place == queue);
        self.messages.iter().filter(move |(_, msg)| here(msg)).map(|(number, msg)| (*number, msg))
    }

    /// Checks what a receive returned, and takes it over.
    pub fn received(&mut self, queue: &'static str, batch: &[Received], hidden_for: Duration, now: Span) {
        let fifo = self.is_fifo(queue);
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        for received in batch {
            let number = self.recognise(queue, received, now);
            let msg = &self.messages[&number];
            assert!(msg.visible.perhaps_before(now), "{queue}: two leases on {number}: {msg:?} at {now:?}");
            assert!(msg.count < self.max_receives(queue), "{queue}: {number} should be given up: {msg:?}");
            assert!(!self.surely_expired(msg, queue, now), "{queue}: {number} is too old: {msg:?} at {now:?}");
            assert_eq!(received.receive_count, msg.count + 1, "{queue}: receive count of {number}: {msg:?}");
            if fifo {
                self.check_order(queue, number, &seen, now);
            }
            seen.insert(number);
        }
        for (number, received) in seen_in_order(batch).zip(batch) {
            let msg = self.messages.get_mut(&number).unwrap();
            msg.count += 1;
            msg.stale.extend(msg.receipt.replace(received.receipt.clone()));
            msg.visible = if hidden_for.is_zero() { Span::LONG_AGO } else { now.after(hidden_for) };
        }
    }

    /// Finds the message that was received, and takes over where it has been found: a send that nobody waited for, or a dead
    /// letter that has arrived.
    fn recognise(&mut self, queue: &'static str, received: &Received, now: Span) -> u64 {
        let number = number(received);
        let Some(msg) = self.messages.get(&number) else { panic!("{queue}: {number} was never sent") };
        match msg.place {
            Place::In(place) if place == queue => {}
            Place::In(place) => {
                let given_up = self.perhaps_given_up(msg, now) && self.dead_letter_queue(place) == Some(queue);
                assert!(given_up, "{queue}: {number} is another queue's: {msg:?} at {now:?}");
                self.give_up(number);
            }
            Place::Perhaps(place, send) if place == queue => self.found(send),
            Place::Perhaps(..) | Place::Gone => panic!("{queue}: {number} is delivered and should not be: {msg:?}"),
        }
        let msg = &self.messages[&number];
        if let Some(id) = msg.id {
            assert_eq!(received.id, id, "{queue}: the id of {number}");
        } else {
            self.learn_id(number, received.id);
        }
        let msg = &self.messages[&number];
        assert_eq!(String::from_utf8_lossy(&received.body), msg.body.as_str(), "{queue}: the body of {number}");
        assert_eq!((&received.group, &received.deduplication), (&msg.group, &msg.deduplication), "{queue}: {number}");
        assert_eq!(received.source.as_ref().map(|source| source.as_str()), msg.source, "{queue}: source of {number}");
        let sent = received.sent_at.0;
        assert!((msg.sent.low..=msg.sent.high).contains(&sent), "{queue}: {number} sent at {sent}: {msg:?}");
        self.messages.get_mut(&number).unwrap().sent = Span { low: sent, high: sent };
        number
    }

    /// A send that nobody waited for was stored: all of it.
    pub fn found(&mut self, send: u64) {
        for msg in self.messages.values_mut() {
            if let Place::Perhaps(place, of) = msg.place
                && of == send
            {
                msg.place = Place::In(place);
            }
        }
    }

    /// A message has gone to the dead-letter queue.
    pub fn give_up(&mut self, number: u64) {
        let Place::In(source) = self.messages[&number].place else { panic!("{number} is nowhere") };
        let to = self.dead_letter_queue(source).unwrap();
        let (order, fifo) = (self.next_order(), self.is_fifo(to));
        let msg = self.messages.get_mut(&number).unwrap();
        if fifo {
            // It begins a new life by its new queue's clock, which may be behind the old one's; its first receive tells when.
            msg.sent = Span { low: msg.sent.low - 3_600_000, high: i64::MAX };
        }
        msg.place = Place::In(to);
        msg.source = Some(source);
        msg.visible = Span::LONG_AGO;
        (msg.count, msg.receipt, msg.order, msg.delay) = (0, None, order, Duration::ZERO);
        msg.stale.clear();
    }

    fn check_order(&self, queue: &str, number: u64, seen: &BTreeSet<u64>, now: Span) {
        let msg = &self.messages[&number];
        let dead_letters = self.queues.keys().any(|source| self.dead_letter_queue(source) == Some(queue));
        for (other, earlier) in self.of(queue) {
            if other == number || earlier.group != msg.group || seen.contains(&other) {
                continue;
            }
            let in_flight = earlier.receipt.is_some() && !earlier.visible.perhaps_before(now);
            assert!(!in_flight, "{queue}: {number} is received while {other} of its group is in flight");
            // Dead letters come in the order in which they were given up, which nobody here has seen.
            let passed = dead_letters
                || earlier.order >= msg.order
                || self.perhaps_given_up(earlier, now)
                || self.perhaps_expired(earlier, queue, now);
            assert!(passed, "{queue}: {number} is received before {other}: {msg:?} {earlier:?}");
        }
    }
}

fn seen_in_order(batch: &[Received]) -> impl Iterator<Item = u64> {
    batch.iter().map(number)
}

/// The number that a body begins with.
pub fn number(received: &Received) -> u64 {
    let body = std::str::from_utf8(&received.body).unwrap();
    body.split(' ').next().unwrap().parse().unwrap()
}
