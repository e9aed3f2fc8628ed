//! The mood of messages: a function of one's own rates each text, and the ratings are averaged by topic and time.

use std::sync::Arc;

use datafusion::{
    arrow::array::{AsArray, Float64Array},
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};
use headwater::prelude::*;

use crate::{column, time};

/// Columns of the messages.
pub fn messages() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("topic", DataType::Utf8),
        column("author", DataType::Utf8),
        column("text", DataType::Utf8),
    ])
}

/// Words that say what someone thinks, from 1 (delighted) to -1.
const WORDS: [(&str, f64); 24] = [
    ("angry", -0.8),
    ("awful", -1.0),
    ("bad", -0.7),
    ("broken", -0.8),
    ("disappointed", -0.7),
    ("easy", 0.5),
    ("excellent", 1.0),
    ("fast", 0.5),
    ("friendly", 0.7),
    ("good", 0.7),
    ("great", 0.9),
    ("happy", 0.8),
    ("hate", -1.0),
    ("helpful", 0.7),
    ("late", -0.4),
    ("love", 1.0),
    ("perfect", 1.0),
    ("problem", -0.5),
    ("quick", 0.5),
    ("slow", -0.5),
    ("terrible", -1.0),
    ("useless", -0.9),
    ("wonderful", 1.0),
    ("worst", -1.0),
];

/// Rates a text between -1 (bad) and 1 (good): the mean of the words that say something; none if no word does. "Not" and
/// its like turn the next such word round.
pub fn rate(text: &str) -> Option<f64> {
    let (mut sum, mut count, mut negated) = (0.0, 0_u32, false);
    for word in text.split(|letter: char| !letter.is_alphanumeric()) {
        let word = word.to_lowercase();
        if let Some((_, rating)) = WORDS.iter().find(|(known, _)| *known == word) {
            sum += if negated { -rating } else { *rating };
            count += 1;
            negated = false;
        } else if matches!(word.as_str(), "not" | "never" | "no") {
            negated = true;
        }
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// [`rate`] as a function of columns: it gets a whole column at a time.
pub fn sentiment() -> ScalarUDF {
    create_udf(
        "sentiment",
        vec![DataType::Utf8],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(|arguments| {
            let columns = ColumnarValue::values_to_arrays(arguments)?;
            let texts = columns[0].as_string::<i32>();
            let ratings: Float64Array = texts.iter().map(|text| text.and_then(rate)).collect();
            Ok(ColumnarValue::Array(Arc::new(ratings)))
        }),
    )
}

/// The mean rating of each topic in each twenty minutes. The same for a stream and for a table.
pub fn moods(messages: DataFrame) -> Result<DataFrame> {
    messages
        .with_column("rating", sentiment().call(vec![col("text")]))?
        .with_watermark("time", "2 minutes")?
        .group_by([window(col("time"), "20 minutes"), col("topic")])?
        .agg_expr([
            "count(*) AS messages",
            "sum(CASE WHEN rating < 0 THEN 1 ELSE 0 END) AS complaints",
            "round(avg(rating), 2) AS mood",
        ])?
        .select_expr([
            "window.start AS start",
            "topic",
            "messages",
            "complaints",
            "mood",
        ])
}

/// Runs over everything that is in `input` and goes on from `checkpoint` if it was run before.
pub async fn run(input: &str, output: &str, checkpoint: &str) -> Result<StreamingQuery> {
    let session = Session::new();
    let stream = session
        .read_stream()
        .schema(messages())
        .option("maxFilesPerTrigger", "2")
        .json(input)?;
    let query = moods(stream)?
        .write_stream()
        .query_name("moods")
        .format("parquet")
        .option("checkpointLocation", checkpoint)
        .trigger(Trigger::available_now())
        .start(output)
        .await?;
    query.await_termination().await?;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Arriving, millis, objects, shown, sorted_rows, watermark};

    const WINDOW: i64 = 20 * 60 * 1000;

    #[test]
    fn texts_are_rated_by_their_words() {
        for (text, expected) in [
            ("Great!", Some(0.9)),
            ("not great", Some(-0.9)),
            ("NOT BAD at all. Happy with it.", Some(0.75)),
            ("Never had a problem, it is good", Some(0.6)),
            ("Is there any news?", None),
            ("", None),
        ] {
            let rating = rate(text);
            let same = match (rating, expected) {
                (Some(rating), Some(expected)) => f64::abs(rating - expected) < 1e-9,
                (rating, expected) => rating == expected,
            };
            assert!(same, "{text}: {rating:?}");
        }
    }

    /// The moods worked out one message after the other, each with the end of its window.
    fn by_hand(folder: &str) -> Vec<(i64, String)> {
        let mut windows: BTreeMap<(i64, String), Vec<Option<f64>>> = BTreeMap::new();
        for message in objects(folder) {
            let at = millis(&message[0]);
            let key = (at - at % WINDOW, message[1].clone());
            windows.entry(key).or_default().push(rate(&message[3]));
        }
        let row = |((start, topic), ratings): ((i64, String), Vec<Option<f64>>)| {
            let known: Vec<f64> = ratings.iter().copied().flatten().collect();
            let complaints = known.iter().filter(|rating| **rating < 0.0).count();
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            let (count, mean) = (ratings.len(), (mean * 100.0).round() / 100.0);
            (
                start + WINDOW,
                format!("{}|{topic}|{count}|{complaints}|{mean:?}", shown(start)),
            )
        };
        windows.into_iter().map(row).collect()
    }

    #[tokio::test]
    async fn moods_of_closed_windows_are_written_once_across_a_restart() -> Result<()> {
        let messages = Arriving::of("messages");
        let (out, checkpoint) = (messages.path("out"), messages.path("checkpoint"));
        messages.bring_first_half();
        run(&messages.input(), &out, &checkpoint).await?;
        messages.bring_second_half();
        let query = run(&messages.input(), &out, &checkpoint).await?;

        let session = Session::new();
        let written = sorted_rows(session.read().parquet(&out).await?).await?;
        let closed_at = watermark(&query);
        let closed = by_hand(&messages.input()).into_iter();
        let closed: Vec<String> = closed
            .filter(|row| row.0 <= closed_at)
            .map(|row| row.1)
            .collect();
        assert_eq!(written, closed);
        assert_eq!(written.len(), 32);
        Ok(())
    }

    #[tokio::test]
    async fn the_function_has_a_name_in_sql() -> Result<()> {
        let session = Session::new();
        session.register_udf(sentiment());
        let folder = crate::data("messages");
        let table = session.read().schema(messages()).json(&folder).await?;
        let all: Vec<String> = by_hand(&folder).into_iter().map(|row| row.1).collect();
        assert_eq!(sorted_rows(moods(table.clone())?).await?, all);
        session.register_view("messages", table)?;
        let unhappy = session
            .sql("SELECT text FROM messages WHERE sentiment(text) < 0")
            .await?;
        let unhappy = unhappy
            .collect()
            .await?
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>();
        let expected = objects(&folder)
            .iter()
            .filter(|message| rate(&message[3]) < Some(0.0) && rate(&message[3]).is_some())
            .count();
        assert_eq!(unhappy, expected);
        Ok(())
    }
}
