-- Bids in a Kafka topic: every one of them as Parquet, and what each channel earns in a second topic, exactly once.
--
--     scripts/kafka start
--     cargo run --bin headwater -- run examples/pipelines/kafka.sql --set KAFKA=$(scripts/kafka status)
--
-- The first query makes the bids up, so there is nothing to prepare. Stop it with Ctrl-C, or kill it, and start it again: it
-- goes on where it was. In another terminal:
--     scripts/kafka consume earnings --from-beginning --isolation-level read_committed
-- and at the end `scripts/kafka reset`.

CREATE STREAM made_up USING nexmark OPTIONS ('table' 'bid', 'eventsPerSecond' 1000);

CREATE SINK topic_of_bids USING kafka OPTIONS ('kafka.bootstrap.servers' '${KAFKA:-localhost:9092}', 'topic' 'bids');

CREATE STREAMING QUERY bidders
OPTIONS ('checkpointLocation' '${OUTPUT:-target/kafka_sql}/checkpoints/bidders')
AS INSERT INTO topic_of_bids
SELECT CAST(auction AS STRING) AS key,
       to_json(named_struct('auction', auction, 'price', price, 'channel', channel, 'at', date_time)) AS value
FROM made_up;

-- The topic is made by whoever asks for it first.
CREATE STREAM messages USING kafka OPTIONS (
    'kafka.bootstrap.servers' '${KAFKA:-localhost:9092}',
    'kafka.allow.auto.create.topics' 'true',
    'subscribe' 'bids',
    'startingOffsets' 'earliest'
);

CREATE VIEW bids AS
SELECT bid.auction AS auction, bid.price AS price, bid.channel AS channel, bid.at AS at
FROM (
    SELECT from_json(CAST(value AS STRING), 'auction BIGINT, price BIGINT, channel STRING, at TIMESTAMP') AS bid
    FROM messages
) AS parsed;

CREATE SINK archive USING parquet OPTIONS ('path' '${OUTPUT:-target/kafka_sql}/bids');

CREATE STREAMING QUERY archive
TRIGGER EVERY INTERVAL 1 SECOND
OPTIONS ('checkpointLocation' '${OUTPUT:-target/kafka_sql}/checkpoints/archive')
AS INSERT INTO archive
SELECT auction, price, channel, at FROM bids;

CREATE SINK earnings USING kafka OPTIONS (
    'kafka.bootstrap.servers' '${KAFKA:-localhost:9092}',
    'topic' 'earnings',
    'exactlyOnce' 'true'
);

CREATE STREAMING QUERY earnings
OPTIONS ('checkpointLocation' '${OUTPUT:-target/kafka_sql}/checkpoints/earnings')
AS INSERT INTO earnings
SELECT channel AS key,
       to_json(named_struct('start', start, 'channel', channel, 'bids', bids, 'earned', earned)) AS value
FROM (
    SELECT window.start AS start, channel, count(*) AS bids, sum(price) AS earned
    FROM (SELECT * FROM bids WATERMARK at DELAY OF INTERVAL 1 SECOND) AS timed
    GROUP BY window(at, '5 seconds'), channel
) AS windows;
