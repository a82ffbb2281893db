//! A folder with a configuration, for tests.
#![allow(clippy::unwrap_used, reason = "only tests use it, and a failure is theirs")]

use std::path::Path;

use tempfile::TempDir;

pub const GOOD: &str = r#"stream "flights" {
  schema = "flight.avsc"
  key    = "carrier"
  time   = "time_hour"
  id     = ["carrier", "flight", "time_hour"]
  shards = 2
  retention = "7d"
}

lookup "airlines" {
  file    = "airlines.csv"
  refresh = "5m"
}

function "enrich" {
  on  = stream.flights
  sql = "select f.*, a.name as airline from input f left join airlines a using (carrier)"
  to  = table.flights
}

table "flights" {
  partition_by = "day(time_hour)"
  buckets      = 4
  lookback     = "12h"
}
"#;

const FLIGHT: &str = r#"{"type": "record", "name": "Flight", "fields": [
  {"name": "carrier", "type": "string"},
  {"name": "flight", "type": "int"},
  {"name": "origin", "type": "string"},
  {"name": "delay", "type": ["null", "double"], "default": null},
  {"name": "time_hour", "type": {"type": "long", "logicalType": "timestamp-millis"}}
]}"#;

pub struct Folder(TempDir);

impl Folder {
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn good() -> Self {
        let folder = Self::empty();
        folder.write("weir.hcl", GOOD);
        folder.write("flight.avsc", FLIGHT);
        folder.write("broken.avsc", "{\"type\": \"record\",");
        folder.write("unknown.avsc", FLIGHT.replace("\"double\"", "\"duoble\""));
        folder.write("reserved.avsc", FLIGHT.replace("\"origin\"", "\"_day\""));
        let decimal = "{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 60, \"scale\": 2}";
        folder.write("decimal.avsc", FLIGHT.replace("[\"null\", \"double\"], \"default\": null", decimal));
        folder.write("enum.avsc", "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\"]}");
        folder.write("airlines.csv", "carrier,name\nAA,American Airlines\nUA,United\n");
        folder.write("short.csv", "carrier,name\nAA\n");
        folder.write("good.sql", "select * from input\n");
        folder.write("wrong.sql", "-- joins the airlines\nselect f.*,\n  a.nam as airline\nfrom input f left join airlines a using (carrier)\n");
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
}
