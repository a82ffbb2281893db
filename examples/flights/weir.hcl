# Flights out of New York City: checked at the door, joined with reference data, stored once each.

stream "flights" {
  schema = "flight.avsc" # every record is checked against it
  key    = "carrier"     # one airline's flights stay in order
  time   = "time_hour"   # event time
  id     = ["carrier", "flight", "origin", "time_hour", "sched_dep_time"] # how a repeat is recognised
  null   = "NA"          # what the CSV writes for "not known"
  shards = 2
}

# Reference data, looked at again every five minutes.

lookup "airlines" {
  file    = "airlines.csv"
  refresh = "5m"
}

lookup "airports" {
  file    = "airports.csv"
  refresh = "5m"
  null    = "NA"
}

lookup "planes" {
  file    = "planes.csv"
  refresh = "5m"
  null    = "NA"
}

# Left joins: a flight whose plane or airport is not known is still a flight.

function "enrich" {
  on  = stream.flights
  sql = <<-SQL
    select f.*,
           a.name as airline,
           d.name as dest_name,
           d.lat as dest_lat,
           d.lon as dest_lon,
           p.manufacturer,
           p.model,
           p.seats,
           p.year as built
    from input f
    left join airlines a on a.carrier = f.carrier
    left join airports d on d.faa = f.dest
    left join planes p on p.tailnum = f.tailnum
  SQL
  to  = table.flights
}

table "flights" {
  partition_by = "day(time_hour)"
  buckets      = 4     # by hash of the id, so that no partition is skewed
  lookback     = "12h" # how long after its end a day may still change
}

# Made of the table, a day at a time: only days that changed are computed again.

table "flights_hourly" {
  sql = <<-SQL
    select date_trunc('hour', time_hour) as hour, origin, count(*) as flights, avg(dep_delay) as dep_delay
    from flights
    group by 1, 2
  SQL
  partition_by = "day(hour)"
}
