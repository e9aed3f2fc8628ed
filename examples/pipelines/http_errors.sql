-- HTTP errors per host in windows of five minutes, one every minute: JSON log lines in, Parquet out, exactly once.
--
--     cargo run --bin headwater -- run examples/pipelines/http_errors.sql
--
-- Run it twice: the second run goes on from the checkpoint and finds nothing new. Other places:
-- --set INPUT=data/logs --set OUTPUT=s3://bucket/errors

CREATE STREAM logs (
    time TIMESTAMP,
    host STRING,
    path STRING,
    status BIGINT,
    WATERMARK FOR time AS time - INTERVAL 10 MINUTES
) USING json OPTIONS ('path' '${INPUT:-examples/data/logs}', 'maxFilesPerTrigger' 2);

CREATE SINK errors USING parquet OPTIONS ('path' '${OUTPUT:-target/http_errors_sql}/errors');

CREATE STREAMING QUERY errors_by_host
TRIGGER AVAILABLE NOW
OPTIONS ('checkpointLocation' '${OUTPUT:-target/http_errors_sql}/checkpoint')
AS INSERT INTO errors
SELECT window.start AS start, window.end AS end, host, count(*) AS errors
FROM logs
WHERE status >= 500
GROUP BY window(time, '5 minutes', '1 minute'), host;

-- The busiest windows among all that the query has written, in this run and before.
SELECT start, host, errors FROM errors ORDER BY errors DESC, start, host LIMIT 5;
