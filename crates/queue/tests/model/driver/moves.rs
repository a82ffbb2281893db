//! Moves, cut off by crashes or not.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_queue::{MoveId, MoveStatus};

use super::{Driver, LOOKS_MAX};
use crate::model::{Msg, Place, Span, number};
use crate::support::name;

/// A move that is under way.
pub struct Moving {
    id: MoveId,
    source: &'static str,
    to: Option<&'static str>,
    began: Span,
    /// Those that must be moved.
    moved: Vec<u64>,
}

impl Driver {
    pub async fn start_move(&mut self) {
        let (source, to) =
            self.pick(&[("dead", None), ("dead.fifo", None), ("dead", Some("brief")), ("dead", Some("table"))]);
        self.quiesce().await;
        let now = self.now(source);
        let moved: Vec<u64> = {
            let ready = |msg: &Msg| msg.visible.surely_before(now) && !self.model.perhaps_expired(msg, source, now);
            self.model.of(source).filter(|(_, msg)| ready(msg)).map(|(number, _)| number).collect()
        };
        self.note(format!("move {moved:?} of {source} to {to:?}"));
        let id = self.queues().start_move(&name(source), to.map(name), None, None).await.unwrap();
        let moving = Moving { id, source, to, began: now, moved };
        for _ in 0..self.below(30) {
            tokio::task::yield_now().await;
        }
        if self.below(2) == 0 {
            self.note("crash while messages are moved".into());
            (self.moving, self.crashed) = (Some(moving), true);
        } else {
            self.end_move(moving).await;
        }
    }

    pub async fn end_move(&mut self, moving: Moving) {
        let Moving { id, source, to, began: now, mut moved } = moving;
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
    pub async fn moved_late(&self, source: &'static str, began: Span, ended: Span) -> Vec<u64> {
        let left = self.everything(source).await;
        let left: BTreeMap<u64, u32> = left.iter().map(|left| (number(left), left.receive_count)).collect();
        let late = |msg: &Msg| !msg.visible.surely_before(began) && msg.visible.perhaps_before(ended);
        let found = self.model.of(source).filter(|(number, msg)| late(msg) && left.get(number) != Some(&msg.count));
        found.map(|(number, _)| number).collect()
    }
}
