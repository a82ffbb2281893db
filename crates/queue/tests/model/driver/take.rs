//! Receives, and what is done with what they return.

use std::time::Duration;

use futures::FutureExt;
use weir_queue::{ReceiptHandle, Receive, Received};

use super::{Driver, QUEUES, insist};
use crate::model::{Msg, Place, Span, number};

impl Driver {
    pub async fn receive(&mut self) {
        let queue =
            self.pick(&["work", "work", "work", "line.fifo", "line.fifo", "table", "brief", "dead", "dead.fifo"]);
        let max = self.pick(&[1, 1, 2, 3, 10, 10, 100]);
        let hidden_for = Duration::from_secs(self.pick(&[0, 1, 5, 30, 30, 60, 300]));
        self.receive_from(queue, max, hidden_for).await;
    }

    pub async fn receive_from(&mut self, queue: &'static str, max: usize, hidden_for: Duration) -> Vec<Received> {
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
    pub fn receipt(&self) -> Option<(u64, ReceiptHandle, bool)> {
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
    pub async fn make_sure(&mut self, message: u64) -> Option<&'static str> {
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

    pub async fn delete(&mut self) {
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
        let foreign = self.queue(other);
        let foreign = insist(async || foreign.delete(vec![receipt.clone()]).await).await.remove(0);
        assert!(foreign.is_err(), "a receipt of {queue} is none of {other}");
    }

    pub async fn hide(&mut self) {
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

    pub async fn settle(&mut self) {
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
    pub async fn exhausted(&mut self) {
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

    pub async fn purge(&mut self) {
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
}
