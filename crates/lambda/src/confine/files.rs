//! Landlock: which files and TCP ports the runtime reaches.
//!
//! Rules are allowances below paths; everything else is refused. Paths that don't exist are left out: there is nothing to
//! allow. Best effort by kernel version: what an older kernel does not know is left out, and [`super::probe`] tells.

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
    path_beneath_rules,
};

use super::Files;

/// The newest form that is asked for: files, TCP, devices' controls, signals and abstract sockets.
pub(super) const NEWEST: ABI = ABI::V6;

/// Opens what is allowed, while the launcher may still reach it all; `None` where the kernel has no Landlock.
pub(super) fn rules(files: &Files) -> Result<Option<RulesetCreated>, String> {
    if super::probe().landlock == 0 {
        return Ok(None);
    }
    build(files).map(Some).map_err(|error| format!("could not make its Landlock rules: {error}"))
}

fn build(files: &Files) -> Result<RulesetCreated, landlock::RulesetError> {
    let read = AccessFs::from_read(NEWEST);
    let mut wanted = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if files.ports.is_some() {
        wanted = wanted.handle_access(AccessNet::ConnectTcp)?;
    }
    // Signals and abstract sockets stay within the environment.
    let mut rules = wanted.scope(Scope::Signal | Scope::AbstractUnixSocket)?.create()?;
    rules = rules.add_rules(path_beneath_rules(&files.read, read))?;
    rules = rules.add_rules(path_beneath_rules(&files.write, AccessFs::from_all(NEWEST)))?;
    for port in files.ports.iter().flatten() {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(rules)
}

/// Puts the rules into force, for good.
pub(super) fn restrict(rules: RulesetCreated) -> Result<(), String> {
    rules.restrict_self().map(|_| ()).map_err(|error| format!("could not apply its Landlock rules: {error}"))
}
