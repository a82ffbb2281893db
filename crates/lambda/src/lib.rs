//! Hosts unmodified AWS Lambda handlers: the Runtime API, environments, confinement, events.
//!
//! ```text
//! Host --deploy(Spec)--> Handler --invoke(Invocation)--> Answer
//!                          |
//!                          +- turn (reserved or shared concurrency)
//!                          +- pool of the live version: environments, last in, first out
//!                               +- environment: launcher -> confine -> runtime, Runtime API on a port of its own
//! ```
//!
//! What a function is belongs to [`Spec`]; [`Host::deploy`] stages it as an immutable version and returns a [`Handler`].
//! Which version is live is a machine's to say ([`Versions`]). A handler is any program that speaks the Lambda Runtime
//! API; for Python and Node code that brings no such client, weir's own are used.
//!
//! Invariants: an environment runs one invocation at a time; an invocation ends within its timeout, whatever its handler does;
//! what a handler starts does not outlive its environment, and no environment its server; nothing runs while nothing is invoked,
//! once environments have been idle for long enough. This crate knows no streams, queues, tables or HCL.
//!
//! ```no_run
//! # async fn run(versions: weir_machine::Owner<weir_lambda::Versions>) -> Result<(), Box<dyn std::error::Error>> {
//! use weir_lambda::{Host, Invocation, Options, Runtime, Spec};
//!
//! // The launcher is a command whose `main` is `weir_lambda::confine::main`.
//! let launcher = vec!["weir".into(), "__confine".into()];
//! let host = Host::new(weir_env::Env::system(), Options::new("data/functions".into(), "cache".into(), launcher))?;
//! let spec = Spec::new("score".parse()?, "functions/score".into(), Runtime::Python);
//! let score = host.deploy(spec, &versions).await?;
//! let answer = score.invoke(Invocation::new(r#"{"carrier":"UA"}"#)).await?;
//! println!("{:?}", answer.payload);
//! # Ok(())
//! # }
//! ```

mod api;
mod clients;
pub mod confine;
mod confinement;
mod copy;
mod counts;
mod environment;
pub mod event;
mod gate;
mod handler;
mod host;
mod install;
mod interpreter;
mod invoke;
pub mod limits;
mod log;
mod options;
mod pool;
mod process;
mod reach;
mod running;
mod shared;
mod spec;
mod stage;
mod staged;
mod tool;
mod versions;

pub use confinement::Confinement;
pub use counts::Stats;
pub use handler::{ChangeError, Handler, Slot};
pub use host::{DeployError, Host, HostError};
pub use install::InstallError;
pub use invoke::{Answer, ExitStatus, Invocation, InvokeError};
pub use log::{Cursor, LogLine, LogQuery, Source};
pub use options::{Options, Users};
pub use spec::{Allow, Network, Runtime, Spec, SpecError};
pub use versions::{Command, Outcome, Version, VersionError, Versions};
