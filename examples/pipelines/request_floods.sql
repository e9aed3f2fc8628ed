-- Hosts that send more than three requests within ten seconds. Try it:
--   headwater test examples/pipelines/request_floods.sql --input requests=examples/pipelines/tests/requests.json \
--     --expect examples/pipelines/tests/floods.json

CREATE STREAM requests (
    time TIMESTAMP,
    host STRING,
    WATERMARK FOR time AS time - INTERVAL 5 SECONDS
) USING json OPTIONS ('path' '${INPUT:-data/requests}');

CREATE SINK floods USING json OPTIONS ('path' '${OUTPUT:-out}/floods');
CREATE SINK too_late USING json OPTIONS ('path' '${OUTPUT:-out}/too_late');

CREATE STREAMING QUERY floods LATE ROWS INTO too_late AS
INSERT INTO floods
SELECT start, host, requests FROM (
    SELECT window.start AS start, host, count(*) AS requests
    FROM requests GROUP BY window(time, '10 seconds'), host
) WHERE requests > 3;
