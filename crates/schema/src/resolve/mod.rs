//! Old binary to the binary of a newer schema, and the check that bytes are a record at all.

mod plan;
#[cfg(test)]
mod tests;
mod validate;

pub use plan::Resolver;
pub(crate) use validate::skip;
pub use validate::validate;
