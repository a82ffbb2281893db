//! One invocation, from its environment to its answer. Runs as a task: a caller that goes away changes nothing.

use std::sync::Arc;

use weir_types::FunctionName;

use crate::api::{RuntimeError, Work};
use crate::counts::{Counts, billed_ms};
use crate::environment::{Breach, Outcome, Ran};
use crate::gate::Pass;
use crate::pool::{Lease, Pool};
use crate::{Answer, ExitStatus, InvokeError};

/// Environments that an event is offered to, if one after another has ended unnoticed.
const OFFERS_MAX: usize = 3;

pub(crate) struct Running {
    pub function: FunctionName,
    pub pool: Arc<Pool>,
    pub lease: Lease,
    pub work: Work,
    pub tail: bool,
    pub counts: Arc<Counts>,
    /// Held until the end: it is the invocation's part of the concurrency.
    pub pass: Pass,
}

impl Running {
    /// Runs to the end, and puts the environment back if it is good for another invocation.
    pub async fn run(self) -> Result<Answer, InvokeError> {
        let Self { function, pool, mut lease, work, tail, counts, pass } = self;
        let settings = &pool.staged().settings;
        for _ in 0..OFFERS_MAX {
            let ran = lease.environment().run(work.clone(), tail).await;
            if matches!(ran.outcome, Outcome::NotTaken) {
                drop(lease);
                lease = pool.lease().await?;
                continue;
            }
            counts.ran(&ran, settings.memory_bytes);
            if matches!(ran.outcome, Outcome::Response(_) | Outcome::Error(_) | Outcome::TooLarge) {
                put_back(lease).await;
            }
            drop(pass);
            return answer(&work.request_id, &pool, ran);
        }
        let what = format!("{OFFERS_MAX} environments ended, one after another, before they took the event");
        Err(InvokeError::Start { function, what })
    }
}

/// Before the caller has its answer: its next invocation finds a warm environment then.
async fn put_back(lease: Lease) {
    let environment = lease.environment();
    if environment.temp_is_due() && environment.temp_is_over().await {
        environment.say("the temp folder holds more than it may: this environment is not used again".to_owned());
        return;
    }
    lease.done();
}

fn answer(request_id: &str, pool: &Pool, ran: Ran) -> Result<Answer, InvokeError> {
    let (settings, request_id) = (&pool.staged().settings, request_id.to_owned());
    match ran.outcome {
        Outcome::Response(payload) => Ok(Answer {
            payload,
            request_id,
            version: pool.staged().number,
            duration: ran.duration,
            init_duration: ran.init_duration,
            billed_ms: billed_ms(ran.duration),
            max_memory_bytes: ran.max_memory_bytes,
            log_tail: ran.log_tail,
        }),
        Outcome::Error(RuntimeError { error_type, message, trace, payload }) => {
            Err(InvokeError::Function { error_type, message, trace, payload, request_id })
        }
        Outcome::TooLarge => Err(InvokeError::ResponseTooLarge { request_id }),
        Outcome::TimedOut => Err(InvokeError::TimedOut { after: settings.timeout(), request_id }),
        Outcome::Over(Breach::Memory) => {
            Err(InvokeError::OutOfMemory { limit_bytes: settings.memory_bytes, request_id })
        }
        Outcome::Over(Breach::Temp) => Err(InvokeError::TempFull { limit_bytes: settings.temp_bytes, request_id }),
        Outcome::Exited(status, last_lines) => {
            // What the kernel or the interpreter did to keep a limit is told as that limit.
            if status == ExitStatus::Signal(libc::SIGXFSZ) {
                return Err(InvokeError::TempFull { limit_bytes: settings.temp_bytes, request_id });
            }
            if last_lines.iter().any(|line| line.contains("heap out of memory") || line.contains("process OOM")) {
                return Err(InvokeError::OutOfMemory { limit_bytes: settings.memory_bytes, request_id });
            }
            Err(InvokeError::Crashed { status, request_id, last_lines })
        }
        // The loop above goes on for as long as it may; this is its end.
        Outcome::NotTaken => Err(InvokeError::Crashed { status: ExitStatus::Unknown, request_id, last_lines: vec![] }),
    }
}
