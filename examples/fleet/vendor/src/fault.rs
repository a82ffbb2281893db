//! Bad answers: which calls get them. The call's number and a seed decide, so that a call made again has another chance.

use crate::shape::mix;

/// How often what goes wrong, as shares of the calls from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Faults {
    /// 500 or 502.
    pub errors: f64,
    /// Answers that end before their end.
    pub cut: f64,
    /// Answers that take long.
    pub slow: f64,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status.
    Error(u16),
    /// Its answer has a length, and is shorter.
    CutShort,
    /// Its answer comes in chunks, and the last one never comes.
    CutChunked,
    /// Its answer is late.
    Slow,
}

impl Faults {
    /// What goes wrong with a call.
    pub fn of(&self, seed: u64, call: u64) -> Option<Fault> {
        let draw = mix(mix(seed ^ 0xfa17) ^ call);
        // 53 bits are what a float holds.
        let chance = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        let odd = draw & 1 == 1;
        let cut = self.errors + self.cut;
        match chance {
            chance if chance < self.errors => Some(Fault::Error(if odd { 500 } else { 502 })),
            chance if chance < cut => Some(if odd { Fault::CutShort } else { Fault::CutChunked }),
            chance if chance < cut + self.slow => Some(Fault::Slow),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_asked_for_and_the_same_with_one_seed() {
        let faults = Faults { errors: 0.02, cut: 0.01, slow: 0.005 };
        let drawn = |seed| (0..100_000).map(|call| faults.of(seed, call)).collect::<Vec<_>>();
        let found = drawn(5);
        let count = |wanted: fn(&Fault) -> bool| found.iter().flatten().filter(|fault| wanted(fault)).count();
        assert!((1_900..2_100).contains(&count(|fault| matches!(fault, Fault::Error(_)))));
        assert!((930..1_070).contains(&count(|fault| matches!(fault, Fault::CutShort | Fault::CutChunked))));
        assert!((440..560).contains(&count(|fault| matches!(fault, Fault::Slow))));
        assert_eq!(found, drawn(5));
        assert_ne!(found, drawn(6));
    }
}
