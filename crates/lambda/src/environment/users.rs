//! Users that nobody else is: one for each environment, so that the kernel keeps environments apart.
//!
//! Several hosts may run on one machine, so that each takes a block of users for itself, and says so to the others by the
//! name of a socket, which the kernel gives back when the host dies. Invariant: a user's processes are one environment's.

use std::collections::VecDeque;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Arc, Mutex, PoisonError};

use crate::options::Users;

/// Users of one block, and how many blocks there are, from a first one on. The first is above all that distributions,
/// systemd and containers hand out (systemd.io, "Users, Groups, UIDs and GIDs"); the second serves where a user name space
/// maps 65,536 only.
const RANGES: [Blocks; 2] =
    [Blocks { first: 1_879_100_000, users: 4096, blocks: 64 }, Blocks { first: 60_600, users: 50, blocks: 10 }];

struct Blocks {
    first: u32,
    users: u32,
    blocks: u32,
}

/// The free ones of a block.
#[derive(Debug)]
pub(crate) struct UserPool {
    free: Mutex<VecDeque<u32>>,
    /// Says that the block is taken, for as long as this host lives.
    _claim: UnixListener,
}

/// A user that an environment has for itself. Given back when dropped, which must be after its last process has ended.
#[derive(Debug)]
pub(crate) struct OwnUser {
    pub id: u32,
    pool: Arc<UserPool>,
}

impl UserPool {
    /// Makes the pool that the options ask for; `None`: handlers run as the server's user, or every block is taken.
    pub fn new(users: &Users, root: bool) -> Option<Arc<Self>> {
        match *users {
            Users::Same => None,
            Users::Range { first, count } => Self::claim(first, count),
            Users::Auto if !root => None,
            Users::Auto => {
                let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
                let range = RANGES.into_iter().find(|range| maps(&map, range.first, range.users * range.blocks))?;
                let mut blocks = 0..range.blocks;
                blocks.find_map(|block| Self::claim(range.first + block * range.users, range.users))
            }
        }
    }

    fn claim(first: u32, count: u32) -> Option<Arc<Self>> {
        let name = SocketAddr::from_abstract_name(format!("weir-users-{first}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        Some(Arc::new(Self { free: Mutex::new((first..first.saturating_add(count)).collect()), _claim: claim }))
    }

    /// Takes the one that has been free for longest.
    pub fn take(self: &Arc<Self>) -> Option<OwnUser> {
        let id = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        Some(OwnUser { id, pool: Arc::clone(self) })
    }
}

impl Drop for OwnUser {
    fn drop(&mut self) {
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.id);
    }
}

/// Tells whether this process's user name space has the range.
fn maps(map: &str, first: u32, count: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [inside, _, length] = numbers[..] else { return false };
        inside <= u64::from(first) && u64::from(first) + u64::from(count) <= inside + length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_given_to_one_at_a_time() {
        let range = Users::Range { first: 70_000, count: 2 };
        let pool = UserPool::new(&range, true).unwrap();
        assert!(UserPool::new(&range, true).is_none(), "another host has it");
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert_ne!(one.id, two.id);
        assert!(pool.take().is_none());
        let id = one.id;
        drop(one);
        assert_eq!(pool.take().unwrap().id, id);
    }

    #[test]
    fn a_range_that_the_name_space_lacks_is_not_taken() {
        let fits = |map: &str, range: &Blocks| maps(map, range.first, range.users * range.blocks);
        assert!(fits("         0          0 4294967295\n", &RANGES[0]));
        assert!(!fits("0 100000 65536\n", &RANGES[0]));
        assert!(fits("0 100000 65536\n", &RANGES[1]));
        assert!(UserPool::new(&Users::Auto, false).is_none());
    }
}
