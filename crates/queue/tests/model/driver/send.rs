//! Sends: plain ones, stamped ones, and ones that nobody waits for.

use std::time::Duration;

use futures::FutureExt;
use weir_queue::limits::DEDUPLICATION;
use weir_queue::{Message, SentOnce, Stamp};

use super::{Driver, insist};
use crate::model::{Msg, Place, Span};

impl Driver {
    /// Makes a message, and takes it into the model as one that is sent now.
    pub fn message(&mut self, queue: &'static str, place: Place, now: Span) -> (u64, Message) {
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

    pub fn batch(&mut self, queue: &'static str, place: Place, now: Span) -> (Vec<u64>, Vec<Message>) {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.message(queue, place, now)).unzip()
    }

    pub async fn send(&mut self) {
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
    pub async fn send_and_go_away(&mut self) {
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
        self.crashed = true;
    }

    pub async fn send_once(&mut self) {
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
}
