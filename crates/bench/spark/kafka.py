"""Answers the queries of `headwater-bench kafka` with Spark Structured Streaming and prints a line of JSON for each run.

The queries are those of crates/bench/src/kafka/queries.rs, the fields of the lines those of all benches. A run reads what
is in the topic with an available-now trigger and keeps a checkpoint in a temporary folder, as a user's would. Before a
query is measured, it runs once over the topic's first messages, so that what is measured is compiled.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

BID = (
    "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP, extra STRING"
)
DELAY = "4 seconds"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bootstrap", help="address of the broker")
    parser.add_argument("--query", choices=sorted(QUERIES), required=True)
    parser.add_argument("--topic", required=True, help="the topic to read")
    parser.add_argument("--out", required=True, help="the topic or the folder to write")
    parser.add_argument("--warm-out", required=True, help="the same for the run that is not measured")
    parser.add_argument("--per-trigger", type=int, required=True, help="messages of a trigger")
    parser.add_argument("--jars", type=Path, required=True, help="a folder with the connector")
    parser.add_argument("--cores", type=int, default=2)
    return parser.parse_args()


def start_session(cores, jars):
    settings = {
        "spark.jars": ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))),
        "spark.sql.shuffle.partitions": cores,
        "spark.driver.memory": "8g",
        "spark.sql.session.timeZone": "UTC",
        # What would cost time and is not asked for; every trigger's report is.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.streaming.numRecentProgressUpdates": "100000",
    }
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def bids(spark, a):
    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", a.bootstrap)
    reader = reader.option("subscribe", a.topic).option("startingOffsets", "earliest")
    messages = reader.option("maxOffsetsPerTrigger", a.per_trigger).load()
    bid = F.from_json(F.col("value").cast("string"), BID).alias("bid")
    return messages.select(bid).select("bid.*")


def windows(bids):
    """Per auction and ten seconds: bids, the highest price, the sum of prices."""
    timed = bids.withWatermark("date_time", DELAY)
    counted = timed.groupBy(F.window("date_time", "10 seconds").alias("window"), "auction").agg(
        F.count("*").alias("bids"), F.max("price").alias("highest"), F.sum("price").alias("total")
    )
    row = F.struct(F.col("window.start").alias("start"), "auction", "bids", "highest", "total")
    return counted.select(F.col("auction").cast("string").alias("key"), F.to_json(row).alias("value"))


# Name: what is asked, and where the answer goes.
QUERIES = {"windows": (windows, "kafka"), "parquet": (lambda bids: bids, "parquet")}


def run(spark, a, out, trigger_once=False):
    frame_of, sink = QUERIES[a.query]
    folder = tempfile.mkdtemp(prefix="spark-kafka-")
    try:
        writer = frame_of(bids(spark, a)).writeStream.outputMode("append").format(sink)
        writer = writer.option("checkpointLocation", f"{folder}/checkpoint").trigger(availableNow=True)
        if sink == "kafka":
            writer = writer.option("kafka.bootstrap.servers", a.bootstrap).option("topic", out)
        else:
            writer = writer.option("path", out)
        start = time.monotonic()
        query = writer.start()
        if trigger_once:
            while query.isActive and not any(json.loads(r.json)["numInputRows"] for r in query.recentProgress):
                time.sleep(0.05)
            query.stop()
        query.awaitTermination()
        return time.monotonic() - start, [json.loads(report.json) for report in query.recentProgress]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measurement(engine, name, seconds, triggers):
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
    }


def main():
    a = arguments()
    spark = start_session(a.cores, a.jars)
    run(spark, a, a.warm_out, trigger_once=True)
    seconds, triggers = run(spark, a, a.out)
    print(json.dumps(measurement(f"spark-{spark.version}-hdfs", a.query, seconds, triggers)), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
