//! What single expressions give, written as SQL: one table of cases per theme.

#![expect(clippy::panic, reason = "a test that finds no error has failed")]

mod payloads;

use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext, col};
use headwater_sql::{
    BatchHooks, SqlFrontEnd, StreamingHooks, WatermarkDelay, checked_arithmetic, current_time,
};

fn session(zone: &str) -> (SqlFrontEnd, SessionState) {
    let front_end = SqlFrontEnd::new(Arc::new(BatchHooks));
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.time_zone = Some(zone.to_owned());
    let builder = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features();
    let context = SessionContext::new_with_state(front_end.configure(builder).build());
    let state = context.state();
    (front_end, state)
}

/// The rows of a query as texts, columns joined by `|`.
async fn rows(zone: &str, sql: &str) -> Result<Vec<String>> {
    let (front_end, state) = session(zone);
    let plan = front_end.plan(&state, sql).await?;
    let plan = state.create_physical_plan(&plan).await?;
    let batches = collect(checked_arithmetic(plan)?, state.task_ctx()).await?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = vec![];
    for batch in &batches {
        let columns = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        rows.extend((0..batch.num_rows()).map(|row| {
            columns
                .iter()
                .map(|c| c.value(row).to_string())
                .collect::<Vec<_>>()
                .join("|")
        }));
    }
    Ok(rows)
}

/// The text that a query of one row and column gives.
async fn first_text(sql: &str) -> Result<Option<String>> {
    let (front_end, state) = session("UTC");
    let plan = front_end.plan(&state, sql).await?;
    let plan = state.create_physical_plan(&plan).await?;
    let batches = collect(checked_arithmetic(plan)?, state.task_ctx()).await?;
    let texts = batches[0].column(0).as_string::<i32>();
    Ok(texts.is_valid(0).then(|| texts.value(0).to_owned()))
}

/// A literal with this text.
fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

async fn names(sql: &str) -> Result<Vec<String>> {
    let (front_end, state) = session("UTC");
    let plan = front_end.plan(&state, sql).await?;
    Ok(plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect())
}

/// Checks `expression -> text` for all cases and shows all that differ.
async fn check(zone: &str, cases: &[(&str, &str)]) {
    let mut wrong = vec![];
    for (expression, expected) in cases {
        let found = match rows(zone, &format!("SELECT {expression}")).await {
            Ok(rows) => rows.join(";"),
            Err(error) => format!("error: {}", error.strip_backtrace()),
        };
        if found != *expected {
            wrong.push(format!("{expression}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that each expression fails with a message that holds the text.
async fn check_errors(cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        let error = match rows("UTC", sql).await {
            Ok(rows) => panic!("{sql} gave {rows:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{sql}: {error}");
    }
}

#[tokio::test]
async fn arithmetic_follows_ansi() {
    check(
        "UTC",
        &[
            ("7 / 2", "3.5"),
            ("7 div 2 + 1", "4"),
            ("-7 div 2", "-3"),
            ("-7 % 3", "-1"),
            ("pmod(-7, 3)", "2"),
            ("mod(7, 4)", "3"),
            ("try_divide(1, 0)", "NULL"),
            ("try_add(9223372036854775807, 1)", "NULL"),
            ("try_subtract(1, 2)", "-1"),
            ("try_multiply(4611686018427387904, 2)", "NULL"),
            ("1.5 + 1", "2.5"),
            ("1.5 * 2.25", "3.375"),
            ("1e3 + 1", "1001.0"),
            ("5.0D / 2", "2.5"),
            ("-(3)", "-3"),
            ("abs(-3)", "3"),
            ("round(2.5)", "3"),
            ("round(2.567, 2)", "2.57"),
            ("bround(2.5, 0)", "2"),
            ("ceil(2.1)", "3"),
            ("floor(-2.1)", "-3"),
            ("pow(2, 10)", "1024.0"),
            ("sqrt(16)", "4.0"),
            ("log(exp(2.0D))", "2.0"),
            ("log(2, 8)", "3.0"),
            ("greatest(1, 5, 3)", "5"),
            ("coalesce(NULL, 1.5D, 0.0)", "1.5"),
            ("CASE WHEN true THEN 1.5D ELSE 0.0 END", "1.5"),
            ("nvl(NULL, 3)", "3"),
            ("nvl2(NULL, 1, 2)", "2"),
            ("ifnull(NULL, 4)", "4"),
            ("if(1 > 2, 'a', 'b')", "b"),
            ("nullif(1, 1)", "NULL"),
            ("isnull(NULL)", "true"),
            ("isnotnull(NULL)", "false"),
            ("NULL <=> NULL", "true"),
            ("equal_null(1, NULL)", "false"),
            ("isnan(double('NaN'))", "true"),
            ("double('NaN') = double('NaN')", "true"),
            ("double('NaN') > 1e308", "true"),
            ("double('-0.0') = 0.0D", "true"),
            ("double('-0.0') IN (0.0, 1.0)", "true"),
            ("nanvl(double('NaN'), 1)", "1.0"),
            ("1 BETWEEN 0 AND 2", "true"),
            ("~5", "-6"),
            ("5 & 3, 5 | 3, 5 ^ 3", "1|7|6"),
            ("shiftleft(1, 4)", "16"),
            ("hex(255), bin(5)", "FF|101"),
            ("sign(-3)", "-1.0"),
        ],
    )
    .await;
    check_errors(&[
        (
            "SELECT 9223372036854775807 + v FROM (VALUES (1)) t(v)",
            "verflow",
        ),
        (
            "SELECT -v FROM (VALUES (-9223372036854775807 - 1)) t(v)",
            "verflow",
        ),
        (
            "SELECT v * 2 FROM (VALUES (9223372036854775807)) t(v)",
            "verflow",
        ),
        (
            "SELECT sum(v) FROM (VALUES (9223372036854775807), (1)) t(v)",
            "ARITHMETIC_OVERFLOW",
        ),
        (
            "SELECT sum(v + 1) FROM (VALUES (9223372036854775807)) t(v)",
            "verflow",
        ),
        (
            "SELECT v FROM (VALUES (9223372036854775807)) t(v) WHERE v + 1 > 0",
            "verflow",
        ),
        (
            "SELECT v + 1 FROM (SELECT CAST(v AS INT) AS v FROM (VALUES (2147483647)) t(v))",
            "verflow",
        ),
        ("SELECT 1 / v FROM (VALUES (0)) t(v)", "DIVIDE_BY_ZERO"),
        ("SELECT 1 div v FROM (VALUES (0)) t(v)", "ivide by zero"),
        ("SELECT 1 % v FROM (VALUES (0)) t(v)", "ivide by zero"),
        ("SELECT 1.5D / v FROM (VALUES (0.0)) t(v)", "DIVIDE_BY_ZERO"),
        (
            "SELECT CAST(s AS INT) FROM (VALUES ('x')) t(s)",
            "CAST_INVALID_INPUT",
        ),
        (
            "SELECT CAST(v AS INT) FROM (VALUES (9223372036854775807)) t(v)",
            "cast",
        ),
    ])
    .await;
}

#[tokio::test]
async fn casts_follow_spark() {
    check(
        "UTC",
        &[
            ("CAST(' 12 ' AS BIGINT)", "12"),
            ("CAST('12' AS LONG)", "12"),
            ("CAST(1.7 AS INT)", "1"),
            ("CAST(-1.7D AS INT)", "-1"),
            ("CAST(2.5D AS STRING)", "2.5"),
            ("CAST(1e10 AS STRING)", "1.0E10"),
            (
                "CAST(TIMESTAMP'2024-01-02 03:04:05.600' AS STRING)",
                "2024-01-02 03:04:05.6",
            ),
            ("CAST(TIMESTAMP'1970-01-01 00:00:01.9' AS BIGINT)", "1"),
            ("CAST(0 AS TIMESTAMP)", "1970-01-01T00:00:00Z"),
            ("CAST('2024-1-2' AS DATE)", "2024-01-02"),
            ("CAST('yes' AS BOOLEAN)", "true"),
            ("CAST(1 AS BOOLEAN)", "true"),
            ("CAST(true AS INT)", "1"),
            ("CAST('1.005' AS DECIMAL(5,2))", "1.01"),
            ("CAST(1.005D AS DECIMAL(5,2))", "1.01"),
            ("CAST(array(1, NULL) AS STRING)", "[1, null]"),
            ("CAST(struct(1, 'x') AS STRING)", "{1, x}"),
            ("try_cast('x' AS INT)", "NULL"),
            ("try_cast('2024-02-30' AS DATE)", "NULL"),
            ("bigint('5') + 1", "6"),
            ("string(1)", "1"),
            ("'5'::int", "5"),
            ("date('2024-01-02')", "2024-01-02"),
        ],
    )
    .await;
}

#[tokio::test]
async fn dates_and_times() {
    check(
        "UTC",
        &[
            ("year(DATE'2024-02-29'), month(DATE'2024-02-29'), day(DATE'2024-02-29')", "2024|2|29"),
            ("dayofweek(DATE'2024-01-01'), weekday(DATE'2024-01-01'), dayofyear(DATE'2024-03-01')", "2|0|61"),
            ("weekofyear(DATE'2024-01-01'), quarter(DATE'2024-05-01')", "1|2"),
            ("extract(YEAR FROM DATE'2024-05-01'), date_part('month', DATE'2024-05-01')", "2024|5.0"),
            ("hour(TIMESTAMP'2024-01-01 13:14:15'), minute(TIMESTAMP'2024-01-01 13:14:15')", "13|14"),
            ("date_trunc('WEEK', TIMESTAMP'2024-01-04 13:00:00')", "2024-01-01T00:00:00Z"),
            ("date_trunc('quarter', TIMESTAMP'2024-05-04 13:00:00')", "2024-04-01T00:00:00Z"),
            ("trunc(DATE'2024-05-17', 'MM')", "2024-05-01"),
            ("date_add(DATE'2024-02-28', 2), date_sub(DATE'2024-03-01', 1)", "2024-03-01|2024-02-29"),
            ("DATE'2024-02-28' + 1, DATE'2024-03-01' - 1", "2024-02-29|2024-02-29"),
            ("add_months(DATE'2024-01-31', 1)", "2024-02-29"),
            ("datediff(DATE'2024-03-01', DATE'2024-02-01')", "29"),
            ("last_day(DATE'2024-02-05')", "2024-02-29"),
            ("next_day(DATE'2024-01-01', 'Mon')", "2024-01-08"),
            ("months_between(DATE'2024-03-31', DATE'2024-02-29')", "1.0"),
            ("to_date('2024-01-02'), to_date('02/01/2024', 'dd/MM/yyyy')", "2024-01-02|2024-01-02"),
            ("to_timestamp('2024-01-02 03:04:05')", "2024-01-02T03:04:05Z"),
            ("to_timestamp('02/01/2024 03', 'dd/MM/yyyy HH')", "2024-01-02T03:00:00Z"),
            ("try_to_timestamp('x', 'yyyy')", "NULL"),
            ("date_format(TIMESTAMP'2024-01-02 03:04:05', 'yyyy/MM/dd HH:mm')", "2024/01/02 03:04"),
            ("date_format(DATE'2024-01-02', 'E d MMM')", "Tue 2 Jan"),
            ("unix_timestamp(TIMESTAMP'1970-01-02 00:00:00')", "86400"),
            ("unix_timestamp('1970-01-02', 'yyyy-MM-dd')", "86400"),
            ("from_unixtime(86400)", "1970-01-02 00:00:00"),
            ("timestamp_seconds(1), timestamp_millis(1500)", "1970-01-01T00:00:01Z|1970-01-01T00:00:01.500Z"),
            ("unix_millis(TIMESTAMP'1970-01-01 00:00:01.5')", "1500"),
            ("TIMESTAMP'2024-01-31 00:00:00' + INTERVAL 1 MONTH", "2024-02-29T00:00:00Z"),
            ("TIMESTAMP'2024-01-01 00:00:00' + INTERVAL 1 HOUR 30 MINUTES", "2024-01-01T01:30:00Z"),
            ("TIMESTAMP'2024-01-01 00:00:00' - INTERVAL '10 seconds'", "2023-12-31T23:59:50Z"),
            ("timestampadd(HOUR, 2, TIMESTAMP'2024-01-01 00:00:00')", "2024-01-01T02:00:00Z"),
            ("timestampdiff(MONTH, DATE'2024-01-31', DATE'2024-03-30')", "1"),
            ("dateadd(DAY, 1, DATE'2024-01-01')", "2024-01-02T00:00:00Z"),
            ("make_date(2024, 2, 29)", "2024-02-29"),
            ("make_timestamp(2024, 1, 2, 3, 4, 5.5)", "2024-01-02T03:04:05.500Z"),
            ("dayname(DATE'2024-01-01'), monthname(DATE'2024-01-01')", "Mon|Jan"),
            ("window_time(window(TIMESTAMP'2024-01-01 00:00:07', '5 seconds'))", "2024-01-01T00:00:09.999999Z"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_session_zone_shows_in_parts_and_texts() {
    check(
        "America/New_York",
        &[
            ("hour(TIMESTAMP'2024-01-01 00:30:00')", "0"),
            ("TIMESTAMP'2024-01-01 00:30:00'", "2024-01-01T05:30:00Z"),
            (
                "CAST(TIMESTAMP'2024-01-01 02:00:00Z' AS DATE)",
                "2023-12-31",
            ),
            (
                "CAST(TIMESTAMP'2024-01-01 02:00:00Z' AS STRING)",
                "2023-12-31 21:00:00",
            ),
            (
                "CAST(DATE'2024-01-01' AS TIMESTAMP)",
                "2024-01-01T05:00:00Z",
            ),
            (
                "date_trunc('DAY', TIMESTAMP'2024-07-01 12:00:00')",
                "2024-07-01T04:00:00Z",
            ),
            (
                "date_format(TIMESTAMP'2024-07-01 12:00:00Z', 'HH:mm XXX')",
                "08:00 -04:00",
            ),
            ("from_unixtime(0)", "1969-12-31 19:00:00"),
            (
                "window(TIMESTAMP'2024-01-01 00:30:00', '1 day').start",
                "2024-01-01T00:00:00Z",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn texts() {
    check(
        "UTC",
        &[
            ("concat('a', 1, true, 2.5D)", "a1true2.5"),
            ("concat('a', NULL)", "NULL"),
            ("'a' || 1", "a1"),
            ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
            ("upper('a'), ucase('b'), lower('C'), lcase('D')", "A|B|c|d"),
            ("length('äb'), char_length('ab')", "2|2"),
            ("substring('abcdef', 2, 3), substr('abcdef', -2)", "bcd|ef"),
            ("left('abc', 2), right('abc', 2)", "ab|bc"),
            ("trim(' a '), ltrim(' a'), rtrim('a ')", "a|a|a"),
            ("lpad('a', 3, 'x'), rpad('a', 3, 'x')", "xxa|axx"),
            (
                "replace('aba', 'a', 'c'), translate('abc', 'ab', 'xy')",
                "cbc|xyc",
            ),
            ("repeat('ab', 2), reverse('abc')", "abab|cba"),
            (
                "instr('abc', 'b'), locate('b', 'abc'), position('c' IN 'abc')",
                "2|2|3",
            ),
            ("split('a,b,c', ',')", "[a, b, c]"),
            ("split('a1b2c', '[0-9]', 2)", "[a, b2c]"),
            ("split_part('a.b', '.', 2)", "b"),
            (
                "'abc' LIKE 'a%', 'abc' RLIKE 'b', regexp_like('abc', '^b')",
                "true|true|false",
            ),
            ("regexp_extract('k=12', '(\\\\w)=(\\\\d+)', 2)", "12"),
            ("regexp_replace('a1b2', '[0-9]', '#')", "a#b#"),
            (
                "startswith('abc', 'a'), endswith('abc', 'c'), contains('abc', 'b')",
                "true|true|true",
            ),
            ("initcap('hello world')", "Hello World"),
            ("ascii('a'), chr(97)", "97|a"),
            ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
            (
                "sha2('a', 256)",
                "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            ),
            ("format_string('%d-%s', 1, 'x')", "1-x"),
            ("levenshtein('kitten', 'sitting')", "3"),
            ("base64('a'), 'it\\'s'", "YQ==|it's"),
        ],
    )
    .await;
}

#[tokio::test]
async fn collections() {
    check(
        "UTC",
        &[
            ("array(1, 2)[0]", "1"),
            ("get(array(1, 2), 5)", "NULL"),
            ("element_at(array(1, 2), -1)", "2"),
            ("map('a', 1)['a'], element_at(map('a', 1), 'b')", "1|NULL"),
            (
                "size(array(1, 2)), cardinality(array(1)), size(map('a', 1))",
                "2|1|1",
            ),
            (
                "sort_array(array(2, NULL, 1)), sort_array(array(1, 2), false)",
                "[NULL, 1, 2]|[2, 1]",
            ),
            ("array_sort(array(2, NULL, 1))", "[1, 2, NULL]"),
            ("array_contains(array(1, 2), 2)", "true"),
            ("array_max(array(1, 3)), array_min(array(1, 3))", "3|1"),
            (
                "array_distinct(array(1, 1)), array_union(array(1), array(2))",
                "[1]|[1, 2]",
            ),
            ("array_join(array('a', 'b'), '-')", "a-b"),
            ("array_position(array(1, 2), 2)", "2"),
            ("flatten(array(array(1), array(2)))", "[1, 2]"),
            ("sequence(1, 3)", "[1, 2, 3]"),
            ("slice(array(1, 2, 3), 2, 2)", "[2, 3]"),
            ("transform(array(1, 2), x -> x + 1)", "[2, 3]"),
            ("filter(array(1, 2), x -> x > 1)", "[2]"),
            ("exists(array(1, 2), x -> x > 1)", "true"),
            (
                "forall(array(1, 2), x -> x > 1), map_contains_key(map('a', 1), 'a')",
                "false|true",
            ),
            (
                "array_size(array(1, 2)), date_from_unix_date(1)",
                "2|1970-01-02",
            ),
            ("named_struct('a', 1).a, struct(1 AS b).b", "1|1"),
            ("map_keys(map('a', 1)), map_values(map('a', 1))", "[a]|[1]"),
        ],
    )
    .await;
    check_errors(&[(
        "SELECT xs[7] FROM (SELECT array(1, 2) AS xs)",
        "INVALID_ARRAY_INDEX",
    )])
    .await;
}

#[tokio::test]
async fn aggregates() {
    let data = "(VALUES ('a', 1, 1.5D), ('a', 2, 2.5D), ('a', 2, CAST(NULL AS DOUBLE)), ('a', NULL, 4.0D)) t(k, v, d)";
    let cases = [
        (
            "count(*), count(v), count(v, d), count_if(v = 2)",
            "4|3|2|2",
        ),
        ("sum(v), avg(v), min(v), max(v)", "5|1.6666666666666667|1|2"),
        (
            "first(v), last(v), last(v) IGNORE NULLS, last(v, true), any_value(d)",
            "1|NULL|2|2|1.5",
        ),
        ("first_value(v), last_value(v)", "1|NULL"),
        ("max_by(v, d), min_by(d, v)", "NULL|1.5"),
        ("mode(v), mode(v, true)", "2|2"),
        (
            "collect_list(v), sort_array(collect_set(v)), array_agg(v)",
            "[1, 2, 2]|[1, 2]|[1, 2, 2]",
        ),
        ("listagg(k, ','), string_agg(k, '')", "a,a,a,a|aaaa"),
        (
            "median(v), percentile(v, 0.25), percentile_approx(v, 0.5)",
            "2.0|1.5|2",
        ),
        (
            "bool_and(v > 0), every(v > 1), bool_or(v > 1), some(v > 5)",
            "true|false|true|false",
        ),
        ("approx_count_distinct(v)", "2"),
        (
            "try_sum(v), try_avg(v), mean(v)",
            "5|1.6666666666666667|1.6666666666666667",
        ),
        (
            "stddev(d), std(d), stddev_samp(d)",
            "1.2583057392117918|1.2583057392117918|1.2583057392117918",
        ),
        (
            "variance(v), var_pop(v), var_samp(v)",
            "0.3333333333333333|0.2222222222222222|0.3333333333333333",
        ),
        (
            "corr(v, d), covar_pop(v, d), covar_samp(v, d)",
            "1.0|0.25|0.5",
        ),
        ("bit_and(v), bit_or(v), bit_xor(v)", "0|3|1"),
        (
            "sum(v) FILTER (WHERE v > 1), count(DISTINCT v), sum(DISTINCT v)",
            "4|2|3",
        ),
        (
            "sum(CAST(v AS DECIMAL(10,2))), avg(CAST(v AS DECIMAL(10,2)))",
            "5.00|1.666667",
        ),
        (
            "max(struct(v, d)), max(CAST(d AS FLOAT))",
            "{v: 2, d: 2.5}|4.0",
        ),
        ("regr_count(v, d), approx_percentile(v, 0.5)", "2|2"),
    ];
    let mut wrong = vec![];
    for (aggregates, expected) in cases {
        let found = match rows("UTC", &format!("SELECT {aggregates} FROM {data}")).await {
            Ok(rows) => rows.join(";"),
            Err(error) => format!("error: {}", error.strip_backtrace()),
        };
        if found != expected {
            wrong.push(format!("{aggregates}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn relations() {
    let cases = [
        ("SELECT explode(array(1, 2))", "1;2"),
        ("SELECT posexplode(array('a', 'b'))", "0|a;1|b"),
        ("SELECT posexplode(array('a')) AS (p, c)", "0|a"),
        (
            "SELECT k, x FROM (VALUES ('a')) t(k) LATERAL VIEW explode(array(1, 2)) e AS x",
            "a|1;a|2",
        ),
        (
            "SELECT e.x FROM (SELECT array(1) AS xs) t LATERAL VIEW explode(t.xs) e AS x",
            "1",
        ),
        (
            "SELECT x, y FROM (SELECT 1 AS a) t LATERAL VIEW explode(array(1, 2)) e AS x LATERAL VIEW explode(array(x * 10)) f AS y",
            "1|10;2|20",
        ),
        (
            "SELECT k, v FROM (SELECT map('a', 1) AS m) t LATERAL VIEW explode(m) e AS k, v",
            "a|1",
        ),
        (
            "SELECT p, k, v FROM (SELECT map('a', 1) AS m) t LATERAL VIEW posexplode(m) e AS p, k, v",
            "0|a|1",
        ),
        (
            "SELECT a, b FROM (SELECT array(struct(1, 'x')) AS s) t LATERAL VIEW inline(s) e AS a, b",
            "1|x",
        ),
        (
            "SELECT k, x FROM (SELECT 'a' AS k, CAST(NULL AS ARRAY<INT>) AS xs) t LATERAL VIEW OUTER explode(xs) e AS x",
            "a|NULL",
        ),
        (
            "SELECT count(*) FROM (SELECT 'a' AS k, CAST(NULL AS ARRAY<INT>) AS xs) t LATERAL VIEW explode(xs) e AS x",
            "0",
        ),
        (
            "SELECT col FROM (SELECT 1) t LATERAL VIEW explode(array(7)) e",
            "7",
        ),
        (
            "SELECT a, b FROM (VALUES (1)) t(a), (VALUES (2)) u(b) LATERAL VIEW explode(array(a + b)) e AS x WHERE x = 3",
            "1|2",
        ),
        (
            "SELECT r, sum(v), grouping(r), grouping_id() FROM (VALUES ('x', 1), ('y', 2)) t(r, v) GROUP BY r WITH ROLLUP ORDER BY r",
            "x|1|0|0;y|2|0|0;NULL|3|1|1",
        ),
        ("SELECT v FROM (VALUES (1), (2)) t(v) EXCEPT SELECT 2", "1"),
        ("SELECT K FROM (VALUES (1)) T(k) WHERE t.K = 1", "1"),
        (
            "WITH Big AS (SELECT 1 AS UserId) SELECT userid FROM BIG",
            "1",
        ),
        (
            "SELECT d, count(*) FROM (VALUES (double('NaN')), (double('NaN')), (0.0D), (double('-0.0'))) t(d) GROUP BY d ORDER BY d",
            "0.0|2;NaN|2",
        ),
        (
            "SELECT DISTINCT d FROM (VALUES (0.0D), (double('-0.0'))) t(d)",
            "0.0",
        ),
        (
            "SELECT count(*) FROM (VALUES (double('NaN'))) a(x) JOIN (VALUES (double('NaN'))) b(y) ON a.x = b.y",
            "1",
        ),
        (
            "SELECT window.end FROM (VALUES (TIMESTAMP'2024-01-01 00:00:07')) t(ts) GROUP BY window(ts, '5 seconds') HAVING window.start < TIMESTAMP'2024-01-01 00:00:06' ORDER BY window.start",
            "2024-01-01T00:00:10Z",
        ),
        (
            "SELECT w.start FROM (SELECT window(e.ts, '5 seconds') AS w FROM (VALUES (TIMESTAMP'2024-01-01 00:00:07')) e(ts)) s",
            "2024-01-01T00:00:05Z",
        ),
        (
            "SELECT max(v) FROM VALUES (1), (2) AS t(v) WATERMARK to_timestamp('2024-01-01') AS et DELAY OF INTERVAL 5 SECONDS",
            "error",
        ),
        (
            "SELECT e.k, et FROM (SELECT 'a' AS k, '2024-01-01' AS t) WATERMARK to_timestamp(t) AS et DELAY OF INTERVAL 1 DAY AS e",
            "a|2024-01-01T00:00:00Z",
        ),
    ];
    let mut wrong = vec![];
    for (sql, expected) in cases {
        let found = match rows("UTC", sql).await {
            Ok(rows) => rows.join(";"),
            Err(_) if expected == "error" => "error".to_owned(),
            Err(error) => format!("error: {}", error.strip_backtrace()),
        };
        if found != expected {
            wrong.push(format!("{sql}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn columns_are_named_as_in_spark() {
    let cases = [
        (
            "SELECT count(*), sum(t.v), upper(k) AS U FROM (VALUES ('a', 1)) t(k, v) GROUP BY k",
            "count(1),sum(v),U",
        ),
        (
            "SELECT v + 1, explode(array(v)) FROM (VALUES (1)) t(v)",
            "(v + 1),col",
        ),
        (
            "SELECT w.start, w FROM (SELECT window(TIMESTAMP'2024-01-01', '1 day') AS w) t",
            "start,w",
        ),
        (
            "SELECT window, count(*) AS n FROM (SELECT TIMESTAMP'2024-01-01' AS ts) GROUP BY window(ts, '1 day')",
            "window,n",
        ),
        ("SELECT userID FROM (SELECT 1 AS userID)", "userID"),
    ];
    for (sql, expected) in cases {
        assert_eq!(names(sql).await.expect(sql).join(","), expected, "{sql}");
    }
}

#[tokio::test]
async fn what_is_not_supported_says_what_to_write() {
    check_errors(&[
        (
            "SELECT v FROM (VALUES (1)) t(v) SORT BY v UNION ALL SELECT 2",
            "ORDER BY",
        ),
        (
            "SELECT * FROM (VALUES ('a', 1)) t(k, v) PIVOT (sum(v) FOR k IN ('a'))",
            "CASE WHEN",
        ),
        (
            "SELECT v FROM (VALUES (1)) t(v) LATERAL VIEW json_tuple(v, 'a') e AS a",
            "explode",
        ),
        ("SELECT nope FROM (VALUES (1)) t(v)", "nope"),
        ("SELECT nope(v) FROM (VALUES (1)) t(v)", "nope"),
        ("SELECT window(1, '5 seconds')", "timestamp"),
    ])
    .await;
}

/// Remembers what it was asked for.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(String, WatermarkDelay)>>);

impl StreamingHooks for Recorder {
    fn watermark(
        &self,
        input: LogicalPlan,
        column: Expr,
        delay: WatermarkDelay,
    ) -> Result<LogicalPlan> {
        column.get_type(input.schema())?;
        self.0
            .lock()
            .expect("not poisoned")
            .push((column.to_string(), delay));
        Ok(input)
    }
}

#[tokio::test]
async fn every_watermark_reaches_the_hooks_with_a_column_of_its_input() {
    let seconds = |s: i64| WatermarkDelay {
        months: 0,
        micros: s * 1_000_000,
    };
    let cases = [
        (
            "SELECT k FROM t WATERMARK ts DELAY OF INTERVAL 5 SECONDS",
            vec![("t.ts", seconds(5))],
        ),
        (
            "SELECT t.k FROM t WATERMARK t.TS DELAY OF INTERVAL 5 SECONDS",
            vec![("t.ts", seconds(5))],
        ),
        (
            "SELECT a.k FROM t WATERMARK ts DELAY OF INTERVAL 5 SECONDS AS a JOIN t WATERMARK ts DELAY OF INTERVAL 1 MINUTE AS b ON a.k = b.k",
            vec![("t.ts", seconds(5)), ("t.ts", seconds(60))],
        ),
        (
            "SELECT x.k FROM (SELECT ts AS at, k FROM t) WATERMARK at DELAY OF INTERVAL 1 MONTH x",
            vec![(
                "t.at",
                WatermarkDelay {
                    months: 1,
                    micros: 0,
                },
            )],
        ),
        (
            "SELECT et FROM STREAM t WATERMARK date_trunc('HOUR', ts) AS et DELAY OF INTERVAL 0 SECONDS",
            vec![("et", seconds(0))],
        ),
        (
            "WITH c AS (SELECT ts FROM t) SELECT count(*) FROM c WATERMARK ts DELAY OF INTERVAL 5 SECONDS GROUP BY window(ts, '10 seconds')",
            vec![("t.ts", seconds(5))],
        ),
        (
            "SELECT k FROM t WHERE k IN (SELECT k FROM t WATERMARK ts DELAY OF INTERVAL 5 SECONDS)",
            vec![("t.ts", seconds(5))],
        ),
    ];
    for spark in [true, false] {
        for (sql, expected) in &cases {
            let recorder = Arc::new(Recorder::default());
            let hooks: Arc<dyn StreamingHooks> = Arc::clone(&recorder) as _;
            let front_end = SqlFrontEnd::new(hooks).spark(spark);
            let context = SessionContext::new_with_state(
                front_end
                    .configure(SessionStateBuilder::new().with_default_features())
                    .build(),
            );
            let data =
                "CREATE TABLE t AS SELECT 'a' AS k, to_timestamp('2024-01-01T00:00:00') AS ts";
            context
                .sql(data)
                .await
                .expect("a table")
                .collect()
                .await
                .expect("a table");
            if !spark && sql.contains("t.TS") {
                continue;
            }
            front_end.plan(&context.state(), sql).await.expect(sql);
            let found = recorder.0.lock().expect("not poisoned");
            let names: Vec<(&str, WatermarkDelay)> =
                found.iter().map(|(c, d)| (c.as_str(), *d)).collect();
            let unqualified = |calls: &[(&str, WatermarkDelay)]| -> Vec<(String, WatermarkDelay)> {
                calls
                    .iter()
                    .map(|(c, d)| (c.rsplit('.').next().unwrap_or_default().to_owned(), *d))
                    .collect()
            };
            assert_eq!(unqualified(&names), unqualified(expected), "{sql}");
        }
    }
}

#[tokio::test]
async fn sums_of_expressions_are_checked_too() {
    for spark in [true, false] {
        let front_end = SqlFrontEnd::new(Arc::new(BatchHooks)).spark(spark);
        let state = front_end
            .configure(SessionStateBuilder::new().with_default_features())
            .build();
        let context = SessionContext::new_with_state(state);
        let data = "SELECT column1 AS v FROM (VALUES (9223372036854775807), (1)) t";
        let frame = context.sql(data).await.expect("two rows");
        let total = frame
            .aggregate(vec![], vec![sum(col("v"))])
            .expect("a plan")
            .collect()
            .await;
        let error = total.expect_err("overflow").to_string();
        assert!(error.contains("ARITHMETIC_OVERFLOW"), "{error}");
    }
}

#[tokio::test]
async fn the_clock_is_read_once_per_run() {
    let rows = rows(
        "UTC",
        "SELECT current_timestamp() = now(), current_date() = CAST(now() AS DATE)",
    )
    .await;
    assert_eq!(rows.expect("one row"), ["true|true"]);
    assert!(current_time(&col("now")).is_none());
}

#[tokio::test]
async fn expressions_stand_alone() {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::DFSchema;
    let (front_end, state) = session("UTC");
    let schema = DFSchema::try_from(Schema::new(vec![
        Field::new("userId", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]))
    .expect("a schema");
    let cases = [
        ("USERID", "userId"),
        ("v + 1", "(v + 1)"),
        ("sum(v) AS s", "s"),
        ("window(timestamp_seconds(v), '10 seconds')", "window"),
        ("count(*)", "count(1)"),
        ("v = 1 AND userid < 2", "((v = 1) AND (userId < 2))"),
    ];
    for (text, name) in cases {
        let expr = front_end.plan_expr(&state, &schema, text).expect(text);
        assert_eq!(expr.schema_name().to_string(), name, "{text}");
    }
    assert!(front_end.plan_expr(&state, &schema, "v +").is_err());
}
