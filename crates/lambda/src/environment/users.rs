//! Users that nobody else is: one for each environment, so that the kernel keeps environments apart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::options::Users;

/// Where a range begins: above all that distributions, systemd and containers hand out (systemd.io, "Users, Groups, UIDs
/// and GIDs"), and the one that is taken where a user name space maps 65,536 only.
const FIRST: [u32; 2] = [1_879_100_000, 60_600];
/// How many.
const COUNT: [u32; 2] = [4096, 500];

/// The free ones of a range.
#[derive(Debug)]
pub(crate) struct UserPool {
    free: Mutex<VecDeque<u32>>,
}

/// A user that an environment has for itself. Given back when dropped, which must be after its last process has ended.
#[derive(Debug)]
pub(crate) struct OwnUser {
    pub id: u32,
    pool: Arc<UserPool>,
}

impl UserPool {
    /// Makes the pool that the options ask for; `None`: handlers run as the server's user.
    pub fn new(users: &Users, root: bool) -> Option<Arc<Self>> {
        let (first, count) = match *users {
            Users::Same => return None,
            Users::Range { first, count } => (first, count),
            Users::Auto if !root => return None,
            Users::Auto => {
                let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
                FIRST.into_iter().zip(COUNT).find(|(first, count)| maps(&map, *first, *count))?
            }
        };
        Some(Arc::new(Self { free: Mutex::new((first..first.saturating_add(count)).collect()) }))
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
        let pool = UserPool::new(&Users::Range { first: 70_000, count: 2 }, true).unwrap();
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert_ne!(one.id, two.id);
        assert!(pool.take().is_none());
        let id = one.id;
        drop(one);
        assert_eq!(pool.take().unwrap().id, id);
    }

    #[test]
    fn a_range_that_the_name_space_lacks_is_not_taken() {
        assert!(maps("         0          0 4294967295\n", FIRST[0], COUNT[0]));
        assert!(!maps("0 100000 65536\n", FIRST[0], COUNT[0]));
        assert!(maps("0 100000 65536\n", FIRST[1], COUNT[1]));
        assert!(UserPool::new(&Users::Auto, false).is_none());
    }
}
