//! stub
#![allow(missing_docs, clippy::all, unused)]
use crate::*; use crate::spec::*;
#[derive(Debug, Clone)]
pub struct Plan;
impl Plan {
    pub fn compile(client: &Client, crawl: &Crawl) -> Result<Self, Vec<SpecError>> { todo!() }
    pub fn check(&self, run: &RunValues) -> Result<(), Vec<RunError>> { todo!() }
    pub fn roots(&self, run: &RunValues) -> Vec<Task> { todo!() }
    pub fn shape(&self) -> &[Step] { todo!() }
    pub fn request(&self, task: &Task, run: &RunValues) -> Result<Request, RequestError> { todo!() }
    pub fn read(&self, task: &Task, run: &RunValues, answer: &Answer) -> Read { todo!() }
    pub fn failed(&self, error: &TransportError) -> Read { todo!() }
    pub fn signal(&self, read: &Read, answer: &Answer, now: weir_types::Timestamp) -> weir_budget::Signal { todo!() }
    pub fn signal_of_error(&self, error: &TransportError) -> weir_budget::Signal { todo!() }
}
pub fn signal_of(answer: &Result<Answer, TransportError>, now: weir_types::Timestamp) -> weir_budget::Signal { todo!() }
