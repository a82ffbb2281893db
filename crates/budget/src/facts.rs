//! What budgets know over restarts: a machine.
//!
//! Quotas are reserved here before they are used, a part at a time, so that no crash lets a period have more calls than its quota.
//! Rates need nothing stored: a budget begins with an empty bucket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{ApiName, Timestamp};

/// Periods of one quota that are remembered, the latest ones: a wall clock that jumps back finds what it had used.
pub const PERIODS_MAX: usize = 8;

/// A quota's name among those of an account, such as `day Europe/Berlin`.
pub type QuotaKey = String;

/// What a vendor taught.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Calls a second that it takes.
    pub pace: f64,
    /// Calls a second at which it refused; none: it never did.
    pub refused_at: Option<f64>,
    /// Seconds between two attempts to go above that.
    pub probe_every_s: f64,
}

/// What is known of one account.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// What it taught.
    pub learned: Option<Learned>,
    /// Until when it said to wait.
    pub blocked_until: Option<Timestamp>,
    /// Calls reserved, by quota and by the beginning of its period.
    #[serde(default)]
    pub reserved: BTreeMap<QuotaKey, BTreeMap<Timestamp, u64>>,
}

/// A change of the facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum BudgetCommand {
    /// Takes part of a quota.
    Reserve {
        /// The account.
        api: ApiName,
        /// Which quota.
        quota: QuotaKey,
        /// When its period began.
        period: Timestamp,
        /// Calls that are wanted.
        calls: u64,
        /// Calls of a whole period.
        limit: u64,
    },
    /// Gives back what was reserved and not used.
    Return {
        /// The account.
        api: ApiName,
        /// Which quota.
        quota: QuotaKey,
        /// When its period began.
        period: Timestamp,
        /// Calls that were not made.
        calls: u64,
    },
    /// Remembers what the vendor taught.
    Learn {
        /// The account.
        api: ApiName,
        /// What it taught; none: what was learned before is no longer true.
        learned: Option<Learned>,
        /// Until when it said to wait.
        blocked_until: Option<Timestamp>,
    },
    /// The account is gone from the plan.
    Forget {
        /// The account.
        api: ApiName,
    },
}

/// All accounts' facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budgets {
    apis: BTreeMap<ApiName, Facts>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    apis: Vec<(ApiName, Facts)>,
}

impl Budgets {
    /// Returns what is known of an account.
    pub fn get(&self, api: &ApiName) -> Option<&Facts> {
        self.apis.get(api)
    }

    /// Returns the accounts of which something is known.
    pub fn names(&self) -> impl Iterator<Item = &ApiName> {
        self.apis.keys()
    }

    fn reserved(&mut self, api: ApiName, quota: QuotaKey, period: Timestamp) -> &mut u64 {
        let periods = self.apis.entry(api).or_default().reserved.entry(quota).or_default();
        while periods.len() >= PERIODS_MAX && !periods.contains_key(&period) {
            periods.pop_first();
        }
        periods.entry(period).or_default()
    }
}

impl Machine for Budgets {
    const NAME: &'static str = "budgets";
    type Command = BudgetCommand;
    /// Calls that were reserved; zero for all other commands.
    type Outcome = u64;

    fn apply(&mut self, _at: At, command: BudgetCommand) -> u64 {
        match command {
            BudgetCommand::Reserve { api, quota, period, calls, limit } => {
                let reserved = self.reserved(api, quota, period);
                let granted = calls.min(limit.saturating_sub(*reserved));
                *reserved += granted;
                return granted;
            }
            BudgetCommand::Return { api, quota, period, calls } => {
                let reserved = self.reserved(api, quota, period);
                *reserved = reserved.saturating_sub(calls);
            }
            BudgetCommand::Learn { api, learned, blocked_until } => {
                let facts = self.apis.entry(api).or_default();
                facts.learned = learned;
                facts.blocked_until = blocked_until;
            }
            BudgetCommand::Forget { api } => {
                self.apis.remove(&api);
            }
        }
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        let apis = self.apis.iter().map(|(name, facts)| (name.clone(), facts.clone())).collect();
        serde_json::to_vec(&Snapshot { version: 1, apis }).expect("strings and numbers serialise")
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let error = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|cause| error(cause.to_string()))?;
        if snapshot.version != 1 {
            return Err(error(format!("version {} is unknown", snapshot.version)));
        }
        Ok(Self { apis: snapshot.apis.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use weir_types::SequenceNumber;

    use super::*;

    fn reserve(budgets: &mut Budgets, period: i64, calls: u64) -> u64 {
        let at = At { sequence: SequenceNumber(0), time: Timestamp(0) };
        let (api, quota) = ("a".parse().unwrap(), "day UTC".to_owned());
        budgets.apply(at, BudgetCommand::Reserve { api, quota, period: Timestamp(period), calls, limit: 10 })
    }

    #[test]
    fn no_period_is_reserved_beyond_its_limit_and_a_snapshot_is_the_state() {
        let mut budgets = Budgets::default();
        assert_eq!((reserve(&mut budgets, 5, 8), reserve(&mut budgets, 5, 8), reserve(&mut budgets, 5, 8)), (8, 2, 0));
        assert_eq!(reserve(&mut budgets, 6, 3), 3);
        assert_eq!(reserve(&mut budgets, 5, 1), 0, "a clock that went back finds what it had used");
        let again = Budgets::restore(&budgets.snapshot()).unwrap();
        assert_eq!(again, budgets);
        for period in 7..30 {
            reserve(&mut budgets, period, 1);
        }
        assert_eq!(budgets.apis.values().next().unwrap().reserved["day UTC"].len(), PERIODS_MAX);
        assert!(Budgets::restore(b"{\"version\":2,\"apis\":[]}").is_err());
    }
}
