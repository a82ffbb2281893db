//! Routing: which place each row of a batch belongs to, which id it has, and whether a rule applies to it.
//!
//! Pure: depends on the rows, the settings, and the current time (for lateness alone, which never decides a row's
//! place).

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use weir_types::Timestamp;

use crate::id::{self, Hasher};
use crate::outcome::Reason;
use crate::place::Place;
use crate::spec::{PartitionBy, Rule, Spec};
use crate::time::{self, DAY_US, HOUR_US, Times};

/// The time of a row that has no usable one.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// A batch whose rows know where they belong. All vectors but `places` have an entry per row.
pub(crate) struct Routed {
    /// The rows in the table's form.
    pub(crate) batch: RecordBatch,
    /// The distinct places.
    pub(crate) places: Vec<Place>,
    /// Per row the index of its place.
    pub(crate) place_of: Vec<u32>,
    /// Event times in microseconds, or [`NO_TIME`].
    pub(crate) times: Vec<i64>,
    /// Ids; empty if rows are not unique by anything.
    pub(crate) ids: Vec<u128>,
    /// Ids within the whole table: see [`Place::key`]. Empty likewise.
    pub(crate) keys: Vec<u128>,
    /// Which rule applies, if any.
    pub(crate) reasons: Vec<Option<Reason>>,
}

/// Routes a batch that is in the table's form.
pub(crate) fn route(spec: &Spec, hasher: &Hasher, batch: RecordBatch, now: Timestamp) -> Result<Routed, ArrowError> {
    let rows = batch.num_rows();
    let ids = ids(spec, hasher, &batch)?;
    let (times, reasons) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (places, place_of, keys) = (Vec::new(), Vec::with_capacity(rows), Vec::with_capacity(ids.len()));
    let mut routed = Routed { batch, places, place_of, times, ids, keys, reasons };
    let partitions = read_times(spec, &mut routed, now)?;
    let mut index = Index::new(spec.buckets);
    for (row, partition) in partitions.into_iter().enumerate() {
        let bucket = if spec.buckets > 1 { id::bucket(routed.ids[row], spec.buckets) } else { 0 };
        let at = index.find(partition, bucket, &mut routed.places);
        if let Some(id) = routed.ids.get(row) {
            routed.keys.push(routed.places[at as usize].key(*id));
        }
        routed.place_of.push(at);
    }
    Ok(routed)
}

/// Finds places by partition and bucket. Rows that follow each other mostly share a partition, and hashing a place for
/// each would cost as much as hashing its id.
struct Index {
    buckets: usize,
    partitions: HashMap<Partition, usize>,
    last: Option<(Partition, usize)>,
    /// Per partition and bucket the index of its place.
    places: Vec<Option<u32>>,
}

impl Index {
    fn new(buckets: u32) -> Self {
        Self { buckets: buckets as usize, partitions: HashMap::new(), last: None, places: Vec::new() }
    }

    fn find(&mut self, partition: Partition, bucket: u32, places: &mut Vec<Place>) -> u32 {
        let first = match self.last {
            Some((same, first)) if same == partition => first,
            _ => {
                let next = self.places.len();
                let first = *self.partitions.entry(partition).or_insert(next);
                if first == next {
                    self.places.resize(next + self.buckets, None);
                }
                self.last = Some((partition, first));
                first
            }
        };
        *self.places[first + bucket as usize].get_or_insert_with(|| {
            let (day, hour) = partition;
            places.push(Place { day, hour, bucket });
            (places.len() - 1) as u32
        })
    }
}

/// Returns the rows' ids; none if rows are not unique by anything.
pub(crate) fn ids(spec: &Spec, hasher: &Hasher, batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let column = |name: &String| Ok(batch.column(batch.schema_ref().index_of(name)?).clone());
    let columns = spec.unique_by.iter().map(column).collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    hasher.ids(&columns)
}

type Partition = (Option<i32>, Option<u8>);

/// Reads times and reasons into `routed`, and returns the partitions.
fn read_times(spec: &Spec, routed: &mut Routed, now: Timestamp) -> Result<Vec<Partition>, ArrowError> {
    let rows = routed.batch.num_rows();
    let Some(column) = spec.partition_by.column() else {
        routed.times = vec![NO_TIME; rows];
        routed.reasons = vec![None; rows];
        return Ok(vec![(None, None); rows]);
    };
    let array = routed.batch.column(routed.batch.schema_ref().index_of(column)?);
    let times = Times::of(array.as_ref())
        .ok_or_else(|| ArrowError::SchemaError(format!("`{column}` is {}, which is no time", array.data_type())))?;
    let hourly = matches!(spec.partition_by, PartitionBy::Hour(_));
    let late_before = spec.lookback.map_or(NO_TIME, |lookback| now.before(lookback).0.saturating_mul(1000));
    let mut partitions = Vec::with_capacity(rows);
    for row in 0..rows {
        let (time, reason, partition) = match times.get(row) {
            None => (NO_TIME, Some(Reason::NoTime), (None, None)),
            Some(micros) if !time::is_usable(micros) => (NO_TIME, Some(Reason::AbsurdTime), (None, None)),
            Some(micros) => {
                let day = i32::try_from(micros.div_euclid(DAY_US)).ok();
                let hour = hourly.then(|| (micros.rem_euclid(DAY_US) / HOUR_US) as u8);
                (micros, (micros < late_before).then_some(Reason::Late), (day, hour))
            }
        };
        routed.times.push(time);
        routed.reasons.push(reason);
        partitions.push(partition);
    }
    Ok(partitions)
}

/// Whether a rule hands the row back.
pub(crate) fn is_refused(spec: &Spec, reason: Option<Reason>) -> bool {
    match reason {
        None => false,
        Some(Reason::Late) => spec.late == Rule::DeadLetter,
        Some(Reason::NoTime | Reason::AbsurdTime) => spec.timeless == Rule::DeadLetter,
    }
}
