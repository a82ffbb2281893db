//! A bounded number of passes, whose bound may change while they are out.
//!
//! Invariants: no more passes are out than the bound says, except those that were out when it was lowered; whoever has waited for
//! longest is next; whoever stops waiting takes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bound: usize,
    out: usize,
    waiting: VecDeque<oneshot::Sender<Pass>>,
}

/// A pass. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    /// Whether nobody took it: then whoever made it counts it back.
    unclaimed: bool,
}

impl Gate {
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { bound, out: 0, waiting: VecDeque::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many passes there may be.
    pub fn bound(&self) -> usize {
        self.state().bound
    }

    /// Changes how many passes there may be.
    pub fn set_bound(self: &Arc<Self>, bound: usize) {
        self.state().bound = bound;
        self.admit();
    }

    /// Takes a pass if one is free and nobody waits.
    pub fn try_pass(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.is_closed());
        (state.out < state.bound && state.waiting.is_empty()).then(|| {
            state.out += 1;
            Pass { gate: Arc::clone(self), unclaimed: false }
        })
    }

    /// Waits for a pass. `None` if as many as `waiting_max` wait already.
    pub async fn pass(self: &Arc<Self>, waiting_max: usize) -> Option<Pass> {
        if let Some(pass) = self.try_pass() {
            return Some(pass);
        }
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if state.waiting.len() >= waiting_max {
                return None;
            }
            state.waiting.push_back(sender);
        }
        // A pass may have come back between the two.
        self.admit();
        receiver.await.ok()
    }

    fn admit(self: &Arc<Self>) {
        loop {
            let sender = {
                let mut state = self.state();
                if state.out >= state.bound {
                    return;
                }
                let Some(sender) = state.waiting.pop_front() else { return };
                state.out += 1;
                sender
            };
            // Outside of the lock, which dropping a pass takes. One that nobody takes goes to the next in this loop, and
            // not by recursion.
            if let Err(mut pass) = sender.send(Pass { gate: Arc::clone(self), unclaimed: false }) {
                pass.unclaimed = true;
                self.state().out -= 1;
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.unclaimed {
            self.gate.state().out -= 1;
            self.gate.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn passes_are_bounded_and_go_in_order() {
        let gate = Gate::new(1);
        let first = gate.try_pass().unwrap();
        assert!(gate.try_pass().is_none());
        let mut second = Box::pin(gate.pass(10));
        assert!((&mut second).now_or_never().is_none());
        let mut third = Box::pin(gate.pass(10));
        assert!((&mut third).now_or_never().is_none());
        assert!(gate.pass(2).now_or_never().unwrap().is_none(), "two wait already");
        drop(second);
        drop(first);
        let third = third.now_or_never().unwrap().unwrap();
        assert!(gate.try_pass().is_none());
        drop(third);
        assert!(gate.try_pass().is_some());
    }

    #[test]
    fn the_bound_changes_while_passes_are_out() {
        let gate = Gate::new(2);
        let (one, two) = (gate.try_pass().unwrap(), gate.try_pass().unwrap());
        gate.set_bound(1);
        drop(one);
        assert!(gate.try_pass().is_none());
        let mut waits = Box::pin(gate.pass(1));
        assert!((&mut waits).now_or_never().is_none());
        gate.set_bound(2);
        assert!(waits.now_or_never().unwrap().is_some());
        drop(two);
        gate.set_bound(0);
        assert!(gate.try_pass().is_none());
    }
}
