//! What the launcher does: confines itself, and becomes the runtime.

use std::ffi::OsString;

/// Confines this process by the plan on its standard input, and becomes the runtime.
///
/// Never returns: it becomes another program, or ends with status 126 and a line on its standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    drop(args.into_iter().collect::<Vec<_>>());
    std::process::exit(126)
}
