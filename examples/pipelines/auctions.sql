-- Two queries over bids that are made up as they are read: nothing to prepare. Stop it with Ctrl-C.
--
--     cargo run --bin headwater -- run examples/pipelines/auctions.sql
--
-- The first tells every five seconds which auctions had the most bids; the second keeps every bid above a price as
-- Parquet.

CREATE STREAM bids USING nexmark OPTIONS ('table' 'bid', 'eventsPerSecond' 10000);

CREATE VIEW timed AS SELECT * FROM bids WATERMARK date_time DELAY OF INTERVAL 1 SECONDS;

CREATE SINK screen USING console OPTIONS ('numRows' 10);

CREATE STREAMING QUERY hot_auctions
TRIGGER EVERY INTERVAL 5 SECONDS
AS INSERT INTO screen
SELECT window.start AS start, auction, count(*) AS bids, max(price) AS highest
FROM timed
GROUP BY window(date_time, '5 seconds'), auction
HAVING count(*) >= 100;

CREATE SINK dear USING parquet OPTIONS ('path' '${OUTPUT:-target/auctions}/dear');

CREATE STREAMING QUERY dear_bids
TRIGGER EVERY INTERVAL 1 SECOND
OPTIONS ('checkpointLocation' '${OUTPUT:-target/auctions}/checkpoint')
AS INSERT INTO dear
SELECT date_time, auction, bidder, price FROM bids WHERE price > 5000000;
