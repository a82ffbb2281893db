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

/// Everything that arrives, in every way, and functions of every kind.
#[allow(dead_code, reason = "not every test needs it")]
pub const ORDERS: &str = r#"stream "orders" {
  schema = "order.avsc"
  key    = "region"
  time   = "placed_at"
  id     = ["order_id"]
}

stream "scores" {
  schema = "score.avsc"
}

queue "orders" {
  visibility_timeout = "1m"
  max_receives       = 5
  dead_letter        = queue.orders_dead
}

queue "orders_dead" {
}

queue "failures" {
}

schedule "nightly" {
  when     = "cron(0 2 * * ? *)"
  timezone = "Europe/Berlin"
  input    = { report = "daily", days = 1 }
}

files "drops" {
  location = "drops"
  pattern  = "*.csv"
  format   = "csv"
  schema   = "order.avsc"
}

files "images" {
  location = "s3://bucket/images/"
}

function "route" {
  on  = stream.orders
  sql = "select order_id, region, placed_at, amount from input"
  output "eu" {
    to    = table.eu
    where = "region = 'EU'"
  }
  output "rest" {
    to    = queue.orders
    where = "region <> 'EU'"
  }
}

function "score" {
  on          = stream.orders
  code        = "functions/score"
  handler     = "score.handler"
  environment = { LEVEL = "info" }
  to          = stream.scores
  on_failure  = queue.failures
  batch {
    size = 50
  }
  retry {
    attempts = 5
  }
}

function "book" {
  on      = queue.orders
  code    = "functions/book"
  handler = "book.handler"
  to      = table.booked
  schema  = "score.avsc"
  batch {
    window = "1s"
  }
}

function "report" {
  on      = schedule.nightly
  code    = "functions/book"
  handler = "book.handler"
}

function "thumb" {
  on   = files.images
  code = "functions/thumb"
}

function "webhook" {
  code    = "functions/score"
  handler = "score.handler"
  to      = queue.orders
}

table "eu" {
}

table "booked" {
  unique_by = ["order_id"]
}

table "dropped" {
  from = files.drops
}
"#;

#[allow(dead_code, reason = "not every test needs it")]
const ORDER: &str = r#"{"type": "record", "name": "Order", "fields": [
  {"name": "order_id", "type": "string"},
  {"name": "region", "type": "string"},
  {"name": "amount", "type": "long"},
  {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
]}"#;

#[allow(dead_code, reason = "not every test needs it")]
const SCORE: &str = r#"{"type": "record", "name": "Score", "fields": [
  {"name": "order_id", "type": "string"},
  {"name": "score", "type": "double"},
  {"name": "note", "type": ["null", "string"], "default": null}
]}"#;

/// A vendor's account, and crawls of it.
#[allow(dead_code, reason = "not every test needs it")]
pub const DEVICES: &str = r#"stream "readings" {
  schema = "reading.avsc"
}

api "monitor" {
  base_url = "https://vendor.example/v1"
  auth     = bearer(secret("TOKEN"))
  budget {
    rate        = "10/s"
    burst       = 20
    concurrency = 8
  }
}

crawl "devices" {
  api      = api.monitor
  schedule = "cron(0 2 * * ? *)"
  resource_defaults {
    params = { page_size = 100, fields = "all" }
    paginator "cursor" { cursor_path = "next" }
  }
  resource "group" {
    path          = "/groups"
    data_selector = "items"
  }
  resource "device" {
    path              = "/groups/{resources.group.id}/devices"
    data_selector     = "items"
    primary_key       = "id"
    write_disposition = "merge"
    to                = table.devices
    schema            = "device.avsc"
  }
  resource "reading" {
    path = "/devices/{resources.device.id}/readings"
    to   = stream.readings
  }
}

table "devices" {
}

table "readings" {
  from = stream.readings
}
"#;

#[allow(dead_code, reason = "not every test needs it")]
const DEVICE: &str = r#"{"type": "record", "name": "Device", "fields": [
  {"name": "id", "type": "string"},
  {"name": "name", "type": ["null", "string"], "default": null}
]}"#;

#[allow(dead_code, reason = "not every test needs it")]
const READING: &str = r#"{"type": "record", "name": "Reading", "fields": [
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "value", "type": "double"}
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

    #[allow(dead_code, reason = "not every test needs it")]
    pub fn orders() -> Self {
        let folder = Self::empty();
        folder.write("weir.hcl", ORDERS);
        folder.write("order.avsc", ORDER);
        folder.write("score.avsc", SCORE);
        folder.write("reserved.avsc", SCORE.replace("\"note\"", "\"_day\""));
        for dir in [
            "drops",
            "functions/score/inner",
            "functions/book/lib",
            "functions/thumb",
            "functions/empty",
            "functions/both",
        ] {
            std::fs::create_dir_all(folder.path().join(dir)).unwrap();
        }
        folder.write("functions/score/score.py", "def handler(event, context): ...\n");
        folder.write("functions/score/inner/__init__.py", "");
        folder.write("functions/score/inner/deep.py", "");
        folder.write("functions/book/book.mjs", "export const handler = async () => {}\n");
        folder.write("functions/book/lib/help.js", "");
        folder.write("functions/book/package.json", "{}");
        folder.write("functions/both/a.py", "");
        folder.write("functions/both/b.js", "");
        folder.write("functions/score.zip", "PK");
        folder.write("functions/thumb/bootstrap", "#!/bin/sh\n");
        folder.executable("functions/thumb/bootstrap", true);
        folder
    }

    #[allow(dead_code, reason = "not every test needs it")]
    pub fn devices() -> Self {
        let folder = Self::empty();
        folder.write("weir.hcl", DEVICES);
        folder.write("device.avsc", DEVICE);
        folder.write("reading.avsc", READING);
        folder.write("reserved.avsc", DEVICE.replace("\"name\", \"type\": [", "\"_day\", \"type\": ["));
        std::fs::create_dir(folder.path().join("code")).unwrap();
        folder.write("code/ask.py", "def handler(event, context): ...\n");
        folder
    }

    #[allow(dead_code, reason = "not every test needs it")]
    pub fn executable(&self, name: &str, executable: bool) {
        use std::os::unix::fs::PermissionsExt;
        let mode = if executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(self.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
}
