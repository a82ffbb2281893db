//! How long a lookup takes from its source to rows in memory, and how long its snapshot takes.
//!
//! `cargo run --release -p weir-lookup --example lookup_bench -- SOURCE [QUERY]...`: a source is a path or URL of files, or the URL of a
//! database, behind which stands the query. Prints one line of JSON for each.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::sync::Arc;

use object_store::memory::InMemory;
use weir_env::Env;
use weir_lookup::{Database, Files, Limits, Query, Snapshots, Source, Spec, load};

/// Readings of each source; the fastest counts.
const TRIES: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let env = Env::system();
        let mut args = std::env::args().skip(1);
        while let Some(text) = args.next() {
            let source = match text.starts_with("postgres://") || text.starts_with("mysql://") {
                true => {
                    let database = Database::parse(&text, None)?;
                    Source::Query(Query { database, sql: args.next().ok_or("a database without a query")? })
                }
                false => Source::Files(Files::parse(&text, &std::env::current_dir()?)?),
            };
            let mut spec = Spec::new("bench".parse()?, source);
            spec.limits = Limits { bytes_max: 4 << 30, rows_max: 100_000_000, ..spec.limits };
            let snapshots = Snapshots::new(Arc::new(InMemory::new()));
            let (mut reading, mut keeping, mut rows, mut bytes) = (f64::MAX, f64::MAX, 0, 0);
            for _ in 0..TRIES {
                let began = env.elapsed();
                let loaded = load(&spec, None, &env).await?;
                let read = env.elapsed();
                snapshots.keep(&spec, &loaded, env.now()).await?;
                reading = reading.min((read - began).as_secs_f64());
                keeping = keeping.min((env.elapsed() - read).as_secs_f64());
                (rows, bytes) = (loaded.rows, loaded.bytes);
            }
            println!(
                "{{\"source\": \"{}\", \"rows\": {rows}, \"bytes\": {bytes}, \"load_s\": {reading:.2}, \"snapshot_s\": {keeping:.2}}}",
                spec.place()
            );
        }
        Ok(())
    })
}
