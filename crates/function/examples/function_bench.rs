//! What a batch costs: planning once, a batch of one row, and rows per second at 10,000 rows a batch.
//!
//! ```text
//! cargo run --release -p weir-function --example function_bench
//! ```
//!
//! The floor is DataFusion itself: the same query, once, over a table of [`BATCHES`] such batches, one partition, as its
//! users write it (`SessionContext::sql`, collected). Prints one line of JSON; medians, one core.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use weir_env::Env;
use weir_function::{Lookups, SqlFunction};
use weir_lookup::read_csv;

const RUNS: usize = 51;
const ROWS: usize = 10_000;
/// Batches of the floor's table.
const BATCHES: usize = 50;
/// Runs of the floor.
const FLOOR_RUNS: usize = 7;
const SQL: &str = "select f.*, a.name as airline from input f left join airlines a on a.carrier = f.carrier";

fn batch(rows: usize) -> Result<RecordBatch, Box<dyn Error>> {
    let carriers: StringArray = (0..rows).map(|row| Some(format!("C{}", row % 20))).collect();
    let texts: StringArray = (0..rows).map(|row| Some(format!("{row:0>120}"))).collect();
    let numbers: Int64Array = (0..rows as i64).map(Some).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("carrier", Arc::new(carriers)), ("text", Arc::new(texts)), ("number", Arc::new(numbers))];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Rows a second of DataFusion itself.
fn floor(env: &Env, airlines: &RecordBatch) -> Result<f64, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let batch = batch(ROWS)?;
    let mut times = Vec::new();
    for _ in 0..FLOOR_RUNS {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let rows = MemTable::try_new(batch.schema(), vec![vec![batch.clone(); BATCHES]])?;
        context.register_table("input", Arc::new(rows))?;
        context.register_table(
            "airlines",
            Arc::new(MemTable::try_new(airlines.schema(), vec![vec![airlines.clone()]])?),
        )?;
        let started = env.elapsed();
        let output = runtime.block_on(async { context.sql(SQL).await?.collect().await })?;
        times.push(env.elapsed() - started);
        assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), ROWS * BATCHES);
    }
    Ok((ROWS * BATCHES) as f64 / median(times).as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let env = Env::system();
    let mut csv = "carrier,name\n".to_owned();
    for number in 0..16 {
        writeln!(csv, "C{number},Airline {number}")?;
    }
    let airlines = read_csv(csv.as_bytes(), None)?;
    let floor = floor(&env, &airlines)?;
    let schemas = BTreeMap::from([("airlines".parse()?, airlines.schema())]);
    let mut lookups = Lookups::default();
    lookups.insert("airlines".parse()?, Arc::new(vec![airlines]));

    let started = env.elapsed();
    let function = SqlFunction::plan(SQL, batch(1)?.schema(), &schemas)?;
    let planned = env.elapsed() - started;

    let time = |rows: usize| -> Result<Duration, Box<dyn Error>> {
        let batch = batch(rows)?;
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let started = env.elapsed();
            let output = futures::executor::block_on(function.run(batch.clone(), &lookups))?;
            times.push(env.elapsed() - started);
            assert_eq!(output.iter().map(RecordBatch::num_rows).sum::<usize>(), rows);
        }
        Ok(median(times))
    };
    let (one, many) = (time(1)?, time(ROWS)?);
    let rate = ROWS as f64 / many.as_secs_f64();
    #[expect(clippy::print_stdout, reason = "the result of a benchmark")]
    {
        println!(
            "{{\"plan_us\": {}, \"batch_of_1_us\": {}, \"batch_of_{ROWS}_us\": {}, \"rows_per_s\": {rate:.0}, \"datafusion_rows_per_s\": {floor:.0}, \
             \"ratio_to_datafusion\": {:.2}}}",
            planned.as_micros(),
            one.as_micros(),
            many.as_micros(),
            rate / floor
        );
    }
    Ok(())
}
