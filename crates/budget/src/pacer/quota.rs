//! A quota's calls, reserved a part at a time before they are used.
//!
//! Invariant: no call without a reserved one for the period that the wall clock shows; what is reserved and not used stays reserved, so
//! that a crash or a clock that jumps costs calls, and never wins any.

use std::collections::BTreeMap;

use weir_types::Timestamp;

use super::calendar::{self, Span};
use super::{Hold, Reservation};
use crate::facts::PERIODS_MAX;
use crate::{Quota, QuotaKey, QuotaStatus};

/// Of a quota, at most this part is reserved at once, and as much again while the last of it is used: a hundredth in all.
const PARTS: u64 = 200;

/// One quota.
#[derive(Debug)]
pub struct Allowance {
    quota: Quota,
    key: QuotaKey,
    period: Option<Span>,
    /// Calls that are reserved in this period and not used.
    left: u64,
    asked: bool,
    exhausted: bool,
    /// Calls reserved by the beginnings of periods, as far as is known here.
    reserved: BTreeMap<Timestamp, u64>,
}

impl Allowance {
    /// A quota of which so many calls are reserved already.
    pub fn new(quota: Quota, reserved: BTreeMap<Timestamp, u64>) -> Self {
        let key = calendar::key(&quota);
        Self { quota, key, period: None, left: 0, asked: false, exhausted: false, reserved }
    }

    fn roll(&mut self, wall: Timestamp) -> Span {
        match self.period {
            Some(period) if period.holds(wall) => period,
            _ => {
                let period = calendar::period(&self.quota, wall);
                (self.period, self.left, self.asked, self.exhausted) = (Some(period), 0, false, false);
                period
            }
        }
    }

    /// What holds a call back.
    pub fn poll(&mut self, wall: Timestamp) -> Option<Hold> {
        let period = self.roll(wall);
        match self.left {
            0 if self.exhausted => Some(Hold::Quota(period.to)),
            0 => Some(Hold::Reserving),
            _ => None,
        }
    }

    /// Uses a reserved call.
    pub fn take(&mut self) {
        debug_assert!(self.left > 0, "calls are taken when they are reserved");
        self.left = self.left.saturating_sub(1);
    }

    /// What should be reserved, if anything.
    pub fn reservation(&mut self, wall: Timestamp) -> Option<Reservation> {
        let period = self.roll(wall).from;
        let part = (self.quota.calls / PARTS).max(1);
        if self.asked || self.exhausted || self.left >= part {
            return None;
        }
        self.asked = true;
        Some(Reservation { quota: self.key.clone(), period, calls: part, limit: self.quota.calls })
    }

    /// Takes note of what became of a reservation.
    pub fn reserved(&mut self, reservation: &Reservation, granted: Option<u64>) {
        if reservation.quota != self.key {
            return;
        }
        while self.reserved.len() >= PERIODS_MAX && !self.reserved.contains_key(&reservation.period) {
            self.reserved.pop_first();
        }
        *self.reserved.entry(reservation.period).or_default() += granted.unwrap_or(0);
        if self.period.is_some_and(|period| period.from == reservation.period) {
            self.asked = false;
            self.left += granted.unwrap_or(0);
            self.exhausted = granted.is_some_and(|granted| granted < reservation.calls);
        }
    }

    /// Takes back what is reserved and not used.
    pub fn unused(&mut self) -> Option<Reservation> {
        let (left, period) = (std::mem::take(&mut self.left), self.period?.from);
        *self.reserved.entry(period).or_default() -= left.min(self.reserved.get(&period).copied().unwrap_or(0));
        (left > 0).then(|| Reservation { quota: self.key.clone(), period, calls: left, limit: self.quota.calls })
    }

    /// Calls that a period has, those that are left of the present one, and when it ends.
    pub fn outlook(&self, wall: Timestamp) -> (u64, u64, Span) {
        let period = calendar::period(&self.quota, wall);
        let reserved = self.reserved.get(&period.from).copied().unwrap_or(0);
        let mine = if self.period == Some(period) { self.left } else { 0 };
        (self.quota.calls, self.quota.calls.saturating_sub(reserved) + mine.min(reserved), period)
    }

    /// The quota itself.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What a status shows of it.
    pub fn status(&self, wall: Timestamp) -> QuotaStatus {
        let (calls, left, period) = self.outlook(wall);
        QuotaStatus { quota: self.key.clone(), calls, used: calls.saturating_sub(left), left, until: period.to }
    }
}
