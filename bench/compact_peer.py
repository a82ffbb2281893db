"""Compacts the files of `compact_bench make FOLDER` with DuckDB or Polars: unique by id, sorted by time, zstd level 1.

    compact_peer.py duckdb|polars FOLDER [ORDER]

One engine per process, so that its peak memory is its own; two threads. Prints one JSON object. ORDER says whether the
first row of an id has to stay, as weir promises (`first`), or any (`any`, which is less work). Both keep the timestamp's
zone and write one file; neither is told to keep more than it needs.
"""

import json
import os
import resource
import sys
import time

THREADS = 2
# Both read threads from the environment or a setting before anything starts.
os.environ["POLARS_MAX_THREADS"] = str(THREADS)


def peak_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def with_duckdb(source, target, order, scratch):
    import duckdb

    db = duckdb.connect()
    db.execute(f"set threads = {THREADS}")
    db.execute(f"set temp_directory = '{scratch}'")
    if os.environ.get("PEER_MEMORY"):
        db.execute(f"set memory_limit = '{os.environ['PEER_MEMORY']}'")
    if order == "first":
        db.execute("set preserve_insertion_order = true")
        rows = f"""
            select * exclude (filename, file_row_number)
            from read_parquet('{source}/*.parquet', filename = true, file_row_number = true)
            qualify row_number() over (partition by id order by filename, file_row_number) = 1
        """
    else:
        db.execute("set preserve_insertion_order = false")
        rows = f"select distinct on (id) * from read_parquet('{source}/*.parquet')"
    db.execute(
        f"copy (select * from ({rows}) order by \"at\") to '{target}' (format parquet, compression zstd, compression_level 1)"
    )
    return duckdb.__version__


def with_polars(source, target, order, scratch):
    import polars as pl

    os.environ["POLARS_TEMP_DIR"] = scratch
    keep = "first" if order == "first" else "any"
    frame = pl.scan_parquet(f"{source}/*.parquet")
    frame = frame.unique(subset="id", keep=keep, maintain_order=order == "first").sort("at")
    frame.sink_parquet(target, compression="zstd", compression_level=1)
    return pl.__version__


def main():
    engine, folder = sys.argv[1:3]
    order = sys.argv[3] if len(sys.argv) > 3 else "first"
    source, target = os.path.join(folder, "in"), os.path.join(folder, f"{engine}.parquet")
    scratch = os.path.join(folder, "peer-scratch")
    os.makedirs(scratch, exist_ok=True)
    run = {"duckdb": with_duckdb, "polars": with_polars}[engine]
    cpu, since = cpu_seconds(), time.monotonic()
    version = run(source, target, order, scratch)
    seconds = time.monotonic() - since
    report = {
        "version": version,
        "keeps": order,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_mib": peak_mib(),
        "bytes_out": os.path.getsize(target),
    }
    os.remove(target)
    print(json.dumps(report))


main()
