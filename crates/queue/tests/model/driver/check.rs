//! Looks at whole queues, when nothing is left to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_queue::Received;
use weir_types::{SequenceNumber, Timestamp};

use super::{COUNTED, Driver, LOOKS_MAX, QUEUES, insist};
use crate::model::{Msg, Place, Span, number};

impl Driver {
    /// Lets the clocks agree and everything that is due be done, and checks that the queues hold what the model does.
    pub async fn quiesce(&mut self) {
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
    pub fn unsure_until(&self) -> Option<i64> {
        let now = Span { low: self.wall().0, high: self.model.high };
        let unsure = |msg: &&Msg| self.model.perhaps_given_up(msg, now) && !msg.visible.surely_before(now);
        self.model.messages.values().filter(unsure).map(|msg| msg.visible.high).max()
    }

    /// Takes over that what is due has gone to the dead-letter queues.
    pub fn give_up_all(&mut self) {
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
    pub fn difference(&self) -> Option<String> {
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

    pub async fn everything(&self, queue: &str) -> Vec<Received> {
        let queue = self.queue(queue);
        insist(async || queue.browse(SequenceNumber(0), 100_000).await).await
    }

    /// Looks whether sends that nobody waited for were stored: all of each, or nothing.
    pub async fn resolve(&mut self, queue: &'static str) {
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

    pub async fn browse(&mut self) {
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

    /// Receives and deletes everything: what is left in the model then is lost.
    pub async fn drain(&mut self) {
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
