//! Which versions of each function there are, which one is live, and what the aliases name.
//!
//! ```text
//! publish(hash) --new or other than the last--> live = that version, not pinned
//!               --the same as the last--------> nothing changes: a pinned version stays live
//! rollback(to) ------------------------------> live = `to`, pinned
//! ```
//!
//! Invariants: a number names one hash for good and is never given again; `live` and every alias name a version that is
//! kept. The files of a version are not here: they are named by the hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_machine::{At, Machine, RestoreError};
use weir_types::{FunctionName, Timestamp};

use crate::limits::{ALIAS_BYTES_MAX, ALIASES_MAX, VERSIONS_MAX};

/// The machine: all functions of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    functions: BTreeMap<FunctionName, Function>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Function {
    /// The number of the version that was made last; numbers begin with 1.
    last: u64,
    versions: BTreeMap<u64, Entry>,
    live: u64,
    pinned: bool,
    /// The version whose code was deployed last, which is not the live one after a rollback.
    deployed: u64,
    aliases: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    hash: String,
    created_at: Timestamp,
    bytes: u64,
}

/// One version of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counts from 1.
    pub number: u64,
    /// SHA-256 over the files and the settings, in hexadecimal.
    pub hash: String,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// Whether invocations without a qualifier run it.
    pub live: bool,
    /// Its files, in bytes, installed dependencies not counted.
    pub size: u64,
}

/// What changes the versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Code was deployed.
    Publish {
        /// The function.
        function: FunctionName,
        /// The version's hash.
        hash: String,
        /// Its files, in bytes.
        bytes: u64,
    },
    /// An older version is to be live until other code is deployed.
    Rollback {
        /// The function.
        function: FunctionName,
        /// Its number; `None`: the version before the live one.
        to: Option<u64>,
    },
    /// An alias names a version from now on.
    SetAlias {
        /// The function.
        function: FunctionName,
        /// The alias.
        alias: String,
        /// The version's number.
        version: u64,
    },
    /// An alias is forgotten.
    RemoveAlias {
        /// The function.
        function: FunctionName,
        /// The alias.
        alias: String,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The version that the command was about.
    pub version: u64,
    /// The live version.
    pub live: u64,
    /// Hashes of versions that are kept no longer.
    pub removed: Vec<String>,
}

/// Why a command left everything as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Never deployed.
    #[error("function `{function}` has no versions")]
    NoSuchFunction {
        /// The function.
        function: FunctionName,
    },
    /// No such version.
    #[error("function `{function}` has no version {version}")]
    NoSuchVersion {
        /// The function.
        function: FunctionName,
        /// The number.
        version: u64,
    },
    /// There is nothing to go back to.
    #[error("function `{function}` has no version before {live}")]
    NoOlder {
        /// The function.
        function: FunctionName,
        /// The live version.
        live: u64,
    },
    /// No such alias.
    #[error("function `{function}` has no alias `{alias}`")]
    NoSuchAlias {
        /// The function.
        function: FunctionName,
        /// The alias.
        alias: String,
    },
    /// A text that can't be an alias.
    #[error("`{alias}` can't be an alias: 1 to {ALIAS_BYTES_MAX} letters, digits, `-` and `_`, and not digits alone")]
    Alias {
        /// The text.
        alias: String,
    },
    /// Too many aliases.
    #[error("function `{function}` has {ALIASES_MAX} aliases, and may have no more")]
    TooManyAliases {
        /// The function.
        function: FunctionName,
    },
}

impl Machine for Versions {
    const NAME: &'static str = "function-versions";
    type Command = Command;
    type Outcome = Result<Outcome, VersionError>;

    fn apply(&mut self, at: At, command: Command) -> Self::Outcome {
        match command {
            Command::Publish { function, hash, bytes } => {
                let entry = Entry { hash, created_at: at.time, bytes };
                Ok(self.functions.entry(function).or_default().publish(entry))
            }
            Command::Rollback { function, to } => self.function(&function)?.rollback(&function, to),
            Command::SetAlias { function, alias, version } => {
                self.function(&function)?.set_alias(&function, alias, version)
            }
            Command::RemoveAlias { function, alias } => {
                let of = self.function(&function)?;
                match of.aliases.remove(&alias) {
                    Some(version) => Ok(of.outcome(version)),
                    None => Err(VersionError::NoSuchAlias { function, alias }),
                }
            }
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            format: u32,
            versions: &'a Versions,
        }
        // Maps with text keys and numbers: serialising them has no way to fail.
        serde_json::to_vec(&Snapshot { format: FORMAT, versions: self }).unwrap_or_default()
    }

    fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        #[derive(Deserialize)]
        struct Snapshot {
            format: u32,
            versions: Versions,
        }
        let refuse = |reason: String| RestoreError { machine: Self::NAME, reason };
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        if snapshot.format != FORMAT {
            return Err(refuse(format!("format {} is not known", snapshot.format)));
        }
        Ok(snapshot.versions)
    }
}

/// The form of a snapshot.
const FORMAT: u32 = 1;

impl Versions {
    fn function(&mut self, name: &FunctionName) -> Result<&mut Function, VersionError> {
        self.functions.get_mut(name).ok_or_else(|| VersionError::NoSuchFunction { function: name.clone() })
    }

    /// Returns a function's versions, oldest first.
    pub fn list(&self, function: &FunctionName) -> Vec<Version> {
        let Some(function) = self.functions.get(function) else { return Vec::new() };
        let version = |(number, entry): (&u64, &Entry)| Version {
            number: *number,
            hash: entry.hash.clone(),
            created_at: entry.created_at,
            live: *number == function.live,
            size: entry.bytes,
        };
        function.versions.iter().map(version).collect()
    }

    /// Returns the aliases of a function and the versions that they name.
    pub fn aliases(&self, function: &FunctionName) -> BTreeMap<String, u64> {
        self.functions.get(function).map(|function| function.aliases.clone()).unwrap_or_default()
    }

    /// Returns the live version's number.
    pub fn live(&self, function: &FunctionName) -> Option<u64> {
        self.functions.get(function).map(|function| function.live)
    }

    /// Tells whether a rollback holds the live version where it is.
    pub fn is_pinned(&self, function: &FunctionName) -> bool {
        self.functions.get(function).is_some_and(|function| function.pinned)
    }

    /// Returns the number and the hash of what a qualifier names: a number, an alias, `$LATEST`, or nothing for the live
    /// version.
    pub fn resolve(&self, function: &FunctionName, qualifier: Option<&str>) -> Option<(u64, &str)> {
        let function = self.functions.get(function)?;
        let number = match qualifier {
            None => function.live,
            Some("$LATEST") => function.deployed,
            Some(text) => match text.parse() {
                Ok(number) => number,
                Err(_) => *function.aliases.get(text)?,
            },
        };
        function.versions.get(&number).map(|entry| (number, entry.hash.as_str()))
    }
}

impl Function {
    fn outcome(&self, version: u64) -> Outcome {
        Outcome { version, live: self.live, removed: Vec::new() }
    }

    fn publish(&mut self, entry: Entry) -> Outcome {
        if self.versions.get(&self.deployed).is_some_and(|deployed| deployed.hash == entry.hash) {
            return self.outcome(self.deployed);
        }
        let known = self.versions.iter().find(|(_, known)| known.hash == entry.hash).map(|(number, _)| *number);
        let number = known.unwrap_or_else(|| {
            self.last += 1;
            self.versions.insert(self.last, entry);
            self.last
        });
        (self.live, self.deployed, self.pinned) = (number, number, false);
        let mut outcome = self.outcome(number);
        while self.versions.len() > VERSIONS_MAX {
            let named = |number: &u64| {
                *number == self.live || *number == self.deployed || self.aliases.values().any(|named| named == number)
            };
            // Fewer aliases than versions are allowed, so that one is always found.
            let Some(oldest) = self.versions.keys().copied().find(|number| !named(number)) else { break };
            outcome.removed.extend(self.versions.remove(&oldest).map(|entry| entry.hash));
        }
        outcome
    }

    fn rollback(&mut self, name: &FunctionName, to: Option<u64>) -> Result<Outcome, VersionError> {
        let number = match to {
            Some(number) if self.versions.contains_key(&number) => number,
            Some(version) => return Err(VersionError::NoSuchVersion { function: name.clone(), version }),
            None => match self.versions.range(..self.live).next_back() {
                Some((number, _)) => *number,
                None => return Err(VersionError::NoOlder { function: name.clone(), live: self.live }),
            },
        };
        self.live = number;
        // Back to what was deployed last is no pin: there is nothing newer to hold off.
        self.pinned = number != self.deployed;
        Ok(self.outcome(number))
    }

    fn set_alias(&mut self, name: &FunctionName, alias: String, version: u64) -> Result<Outcome, VersionError> {
        let fits = !alias.is_empty()
            && alias.len() <= ALIAS_BYTES_MAX
            && alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !alias.bytes().all(|byte| byte.is_ascii_digit());
        if !fits {
            return Err(VersionError::Alias { alias });
        }
        if !self.versions.contains_key(&version) {
            return Err(VersionError::NoSuchVersion { function: name.clone(), version });
        }
        if self.aliases.len() >= ALIASES_MAX && !self.aliases.contains_key(&alias) {
            return Err(VersionError::TooManyAliases { function: name.clone() });
        }
        self.aliases.insert(alias, version);
        Ok(self.outcome(version))
    }
}

#[cfg(test)]
mod tests {
    use weir_types::SequenceNumber;

    use super::*;

    fn name() -> FunctionName {
        "score".parse().unwrap()
    }

    fn apply(versions: &mut Versions, command: Command) -> Result<Outcome, VersionError> {
        versions.apply(At { sequence: SequenceNumber(0), time: Timestamp(5) }, command)
    }

    fn publish(versions: &mut Versions, hash: &str) -> Outcome {
        apply(versions, Command::Publish { function: name(), hash: hash.to_owned(), bytes: 1 }).unwrap()
    }

    fn rollback(versions: &mut Versions, to: Option<u64>) -> Result<Outcome, VersionError> {
        apply(versions, Command::Rollback { function: name(), to })
    }

    #[test]
    fn a_rollback_holds_until_other_code_is_deployed() {
        let mut versions = Versions::default();
        assert_eq!(publish(&mut versions, "a").live, 1);
        assert_eq!(publish(&mut versions, "b").live, 2);
        assert_eq!(rollback(&mut versions, None).unwrap().live, 1);
        assert!(versions.is_pinned(&name()));
        assert_eq!(publish(&mut versions, "b"), Outcome { version: 2, live: 1, removed: vec![] });
        assert_eq!(versions.resolve(&name(), Some("$LATEST")), Some((2, "b")));
        assert_eq!(publish(&mut versions, "c").live, 3);
        assert!(!versions.is_pinned(&name()));
        assert_eq!(publish(&mut versions, "a").live, 1, "code that was reverted has its old number");
        assert_eq!(rollback(&mut versions, None), Err(VersionError::NoOlder { function: name(), live: 1 }));
        assert_eq!(rollback(&mut versions, Some(9)), Err(VersionError::NoSuchVersion { function: name(), version: 9 }));
    }

    #[test]
    fn the_oldest_goes_and_what_an_alias_names_stays() {
        let mut versions = Versions::default();
        publish(&mut versions, "0");
        let alias = Command::SetAlias { function: name(), alias: "prod".to_owned(), version: 1 };
        apply(&mut versions, alias).unwrap();
        for number in 1..VERSIONS_MAX {
            assert!(publish(&mut versions, &number.to_string()).removed.is_empty());
        }
        assert_eq!(publish(&mut versions, "more").removed, ["1"]);
        assert_eq!(versions.resolve(&name(), Some("prod")), Some((1, "0")));
        assert_eq!(versions.list(&name()).len(), VERSIONS_MAX);
    }

    #[test]
    fn aliases_are_no_numbers_and_few() {
        let mut versions = Versions::default();
        publish(&mut versions, "a");
        let mut set = |alias: &str| {
            apply(&mut versions, Command::SetAlias { function: name(), alias: alias.to_owned(), version: 1 })
        };
        assert!(matches!(set("12"), Err(VersionError::Alias { .. })));
        assert!(matches!(set("a b"), Err(VersionError::Alias { .. })));
        for number in 0..ALIASES_MAX {
            set(&format!("a{number}")).unwrap();
        }
        assert!(matches!(set("more"), Err(VersionError::TooManyAliases { .. })));
        assert!(set("a0").is_ok());
    }

    #[test]
    fn a_snapshot_restores_what_it_was_made_of() {
        let mut versions = Versions::default();
        publish(&mut versions, "a");
        publish(&mut versions, "b");
        rollback(&mut versions, Some(1)).unwrap();
        assert_eq!(Versions::restore(&versions.snapshot()).unwrap(), versions);
        assert!(Versions::restore(br#"{"format":2,"versions":{"functions":{}}}"#).is_err());
    }
}
