# Readings of machines, from what they sent to what people ask: raw, enriched, kept for good, compact, and counted.

stream "raw" { # as the machines sent them
  schema    = "raw.avsc"
  key       = "device" # one machine's readings stay in order
  time      = "at"     # event time
  id        = ["reading_id"]
  shards    = 2
  retention = "3d"
  archive   = "400d" # Avro files by hour of arrival: the data of record
}

lookup "devices" {
  file    = "devices.csv"
  refresh = "5m"
}

function "enrich" { # a reading that is no number becomes a dead letter, and the others go on
  on  = stream.raw
  sql = <<-SQL
    select r.reading_id, r.device, r.at, r.metric, cast(r.reading as double) as value, d.site, d.model
    from input r left join devices d on d.device = r.device
  SQL
  to  = stream.processed
}

stream "processed" {
  schema  = "processed.avsc"
  key     = "device"
  time    = "at"
  id      = ["reading_id"]
  shards  = 2
  archive = "400d"
}

table "readings" {
  from         = stream.processed
  partition_by = "hour(at)"
  buckets      = 4     # by hash of the id
  sort_by      = ["device", "at"]
  lookback     = "12h" # how long after its end an hour may still change
  compact      = "1h"  # hours that changed are rebuilt: few files, sorted
}

table "readings_daily" { # made again where readings changed, and only there
  sql = <<-SQL
    select date_trunc('day', at) as day, site, metric, count(*) as readings, min(value) as least, max(value) as most
    from readings group by 1, 2, 3
  SQL
  partition_by = "day(day)"
}
