//! Hosts unmodified AWS Lambda handlers: the Runtime API, environments, confinement, events.

pub mod confine;
pub mod event;
mod handler;
mod host;
mod install;
mod invoke;
pub mod limits;
mod options;
mod spec;
mod versions;

pub use handler::{ChangeError, Cursor, Handler, LogLine, LogQuery, Slot, Source, Stats};
pub use host::{Confinement, DeployError, Host, HostError};
pub use install::InstallError;
pub use invoke::{Answer, ExitStatus, Invocation, InvokeError};
pub use options::{Options, Users};
pub use spec::{Allow, Network, Runtime, Secret, Spec, SpecError};
pub use versions::{Command, Outcome, Version, VersionError, Versions};
