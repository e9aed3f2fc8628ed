"""Answers the benchmark's queries with Spark Structured Streaming and prints a line of JSON for each run.

The queries, output modes and sinks are those of the `QUERIES` of headwater-bench, the fields of the lines too. A run
reads with an available-now trigger and keeps a checkpoint in a temporary folder, as a user's would. Before a query is
measured, it runs once over the first files of each table, so that what is measured is compiled.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

ROCKSDB = {
    "spark.sql.streaming.stateStore.providerClass":
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
# The HDFS-backed store keeps state in the heap, and is the default.
STORES = {"hdfs": {}, "rocksdb": ROCKSDB}
DELAY = "4 seconds"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder written by `headwater-bench data`")
    parser.add_argument("--query", nargs="+", choices=sorted(QUERIES), default=list(QUERIES))
    parser.add_argument("--files-per-trigger", type=int, default=4)
    parser.add_argument("--store", choices=sorted(STORES), default="hdfs")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--warm-files", type=int, default=4, help="files of each table to warm up with; 0 for none")
    return parser.parse_args()


def start_session(cores, store):
    settings = {
        "spark.sql.shuffle.partitions": cores,
        "spark.driver.memory": "8g",
        "spark.sql.session.timeZone": "UTC",
        # What would cost time and is not asked for; every trigger's report is.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.streaming.numRecentProgressUpdates": "100000",
        **STORES[store],
    }
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


class Streams:
    """The tables below a folder as streams of some files a trigger."""

    def __init__(self, spark, folder, files_per_trigger):
        self.spark, self.folder, self.files_per_trigger = spark, folder, files_per_trigger

    def table(self, name):
        path = str(self.folder / name)
        schema = self.spark.read.parquet(path).schema
        reader = self.spark.readStream.schema(schema).option("maxFilesPerTrigger", self.files_per_trigger)
        return reader.parquet(path)

    def bids(self):
        return self.table("bid")

    def timed(self, name):
        return self.table(name).withWatermark("date_time", DELAY)


def stateless(streams):
    columns = ["auction", "bidder", "price * 0.908 AS price_eur", "date_time"]
    return streams.bids().where("price > 1000").selectExpr(*columns)


def tumbling(streams):
    groups = streams.timed("bid").groupBy(F.window("date_time", "10 seconds"), "auction")
    return groups.agg(
        F.count("*").alias("bids"), F.max("price").alias("max_price"), F.avg("price").alias("avg_price"))


def sliding(streams):
    groups = streams.timed("bid").groupBy(F.window("date_time", "10 seconds", "2 seconds"), "auction")
    return groups.agg(F.count("*").alias("bids"))


def session(streams):
    groups = streams.timed("bid").groupBy(F.session_window("date_time", "10 seconds"), "bidder")
    return groups.agg(F.count("*").alias("bids"))


def running(streams):
    return streams.bids().groupBy("bidder").agg(
        F.count("*").alias("bids"), F.sum("price").alias("spent"), F.max("price").alias("max_price"))


def complete(streams):
    return streams.bids().groupBy("channel").agg(F.count("*").alias("bids"), F.avg("price").alias("avg_price"))


def join(streams):
    auctions = streams.timed("auction").selectExpr("id", "category", "date_time AS a_time", "expires").alias("a")
    bids = streams.timed("bid").selectExpr("auction", "price", "date_time AS b_time").alias("b")
    matches = "a.id = b.auction AND b_time >= a_time AND b_time <= a_time + INTERVAL 20 SECONDS"
    return auctions.join(bids, F.expr(matches), "inner")


def dedup(streams):
    firsts = streams.timed("bid").dropDuplicatesWithinWatermark(["auction", "bidder"])
    return firsts.select("auction", "bidder", "price", "date_time")


# The frame, the output mode, the sink.
QUERIES = {
    "stateless": (stateless, "append", "parquet"),
    "tumbling": (tumbling, "append", "parquet"),
    "sliding": (sliding, "append", "parquet"),
    "session": (session, "append", "parquet"),
    "running": (running, "update", "noop"),
    "complete": (complete, "complete", "noop"),
    "join": (join, "append", "parquet"),
    "dedup": (dedup, "append", "parquet"),
}


def run(name, streams):
    """Runs a query to its end. Returns its seconds, the reports of its triggers and the rows in its files."""
    frame_of, mode, sink = QUERIES[name]
    frame = frame_of(streams)
    folder = tempfile.mkdtemp(prefix="spark-nexmark-")
    try:
        out = f"{folder}/out"
        writer = frame.writeStream.outputMode(mode).trigger(availableNow=True).format(sink)
        writer = writer.option("checkpointLocation", f"{folder}/checkpoint")
        if sink == "parquet":
            writer = writer.option("path", out)
        start = time.monotonic()
        query = writer.start()
        query.awaitTermination()
        seconds = time.monotonic() - start
        triggers = [json.loads(report.json) for report in query.recentProgress]
        rows_out = streams.spark.read.parquet(out).count() if sink == "parquet" else None
        return seconds, triggers, rows_out
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measurement(engine, name, seconds, triggers, rows_out):
    rows = sum(trigger["numInputRows"] for trigger in triggers)
    millis = sorted(trigger["durationMs"].get("triggerExecution", 0) for trigger in triggers)
    state = [sum(op["numRowsTotal"] for op in trigger["stateOperators"]) for trigger in triggers]
    return {
        "engine": engine,
        "query": name,
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_s": int(rows / seconds),
        "triggers": len(triggers),
        "trigger_ms_p50": millis[len(millis) // 2] if millis else None,
        "trigger_ms_max": millis[-1] if millis else None,
        "state_rows_max": max(state, default=0),
        "rows_out": rows_out,
    }


def first_files(data, count, folder):
    """Links the first files of each table below `folder`."""
    for table in ("bid", "auction", "person"):
        (folder / table).mkdir()
        for file in sorted((data / table).glob("*.parquet"))[:count]:
            (folder / table / file.name).symlink_to(file.resolve())
    return folder


def main():
    a = arguments()
    spark = start_session(a.cores, a.store)
    engine = f"spark-{spark.version}-{a.store}"
    with tempfile.TemporaryDirectory(prefix="spark-warm-") as folder:
        warm = first_files(a.data, a.warm_files, Path(folder)) if a.warm_files else None
        for name in a.query:
            if warm:
                run(name, Streams(spark, warm, a.files_per_trigger))
            for _ in range(a.repeat):
                seconds, triggers, rows_out = run(name, Streams(spark, a.data, a.files_per_trigger))
                print(json.dumps(measurement(engine, name, seconds, triggers, rows_out)), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
