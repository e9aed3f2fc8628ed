//! Alerts on unusual bank transactions: each account keeps its latest payments in a list; one that is far above them
//! raises an alert, and a timer ends the watch when nothing unusual has come for a while.

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{Int64Type, TimestampMicrosecondType},
    },
    scalar::ScalarValue,
};
use headwater::{
    prelude::*,
    processor::{Output, ProcessorInput, ProcessorSpec, State, StateVariable, StatefulProcessor},
};

use crate::{column, time};

/// Payments that are remembered of an account.
const REMEMBERED: usize = 20;
/// Payments that must be known before one can be unusual.
const KNOWN: usize = 5;
/// So many times the mean of the payments that are remembered is unusual.
const UNUSUAL: i64 = 5;
/// How long an account is watched after an unusual payment, in milliseconds.
const WATCH: i64 = 30 * 60 * 1_000;

fn transactions() -> Schema {
    Schema::new(vec![
        column("time", time()),
        column("account", DataType::Utf8),
        column("cents", DataType::Int64),
        column("place", DataType::Utf8),
    ])
}

/// Tells when an account begins to be used in an unusual way, and when that has ended.
struct UnusualPayments;

impl StatefulProcessor for UnusualPayments {
    fn declare(&self, _input: &ProcessorInput) -> Result<ProcessorSpec> {
        Ok(ProcessorSpec::new([
            ("account", DataType::Utf8),
            ("alert", DataType::Utf8),
            ("payments", DataType::Int64),
            ("cents", DataType::Int64),
        ])
        .with(StateVariable::list("usual", [("cents", DataType::Int64)]))
        .with(StateVariable::value(
            "watch",
            [
                ("until", DataType::Int64),
                ("payments", DataType::Int64),
                ("cents", DataType::Int64),
            ],
        )))
    }

    fn handle_rows(
        &self,
        account: &[ScalarValue],
        rows: &RecordBatch,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let cents = rows.column(2).as_primitive::<Int64Type>();
        let mut usual: Vec<(i64,)> = state.list("usual")?.get()?;
        for (time, cents) in times.iter().zip(cents) {
            let (Some(time), Some(cents)) = (time, cents) else {
                continue;
            };
            if is_usual(cents, &usual) {
                usual.push((cents,));
                continue;
            }
            let watch: Option<(i64, i64, i64)> = state.value("watch")?.get()?;
            if watch.is_none() {
                output.row((account[0].clone(), "watch begins", 1_i64, cents))?;
            }
            let (before, payments, sum) = watch.unwrap_or((0, 0, 0));
            let until = time.div_euclid(1_000) + WATCH;
            state.delete_timer(before)?;
            state.register_timer(until)?;
            state
                .value("watch")?
                .update((until, payments + 1, sum + cents))?;
        }
        let forgotten = usual.len().saturating_sub(REMEMBERED);
        state.list("usual")?.put(usual.split_off(forgotten))
    }

    fn handle_timer(
        &self,
        account: &[ScalarValue],
        _at_millis: i64,
        state: &mut State<'_>,
        output: &mut Output,
    ) -> Result<()> {
        let mut watch = state.value("watch")?;
        if let Some((_, payments, cents)) = watch.get::<(i64, i64, i64)>()? {
            output.row((account[0].clone(), "watch ends", payments, cents))?;
        }
        watch.clear()
    }
}

fn is_usual(cents: i64, usual: &[(i64,)]) -> bool {
    let sum: i64 = usual.iter().map(|(cents,)| cents).sum();
    let count = i64::try_from(usual.len()).unwrap_or(i64::MAX);
    usual.len() < KNOWN || cents * count <= UNUSUAL * sum
}

/// Runs over everything in `input`; the result is the table `alerts` of the session that comes back.
pub async fn run(input: &str) -> Result<Session> {
    let session = Session::new();
    session.register_processor("unusual_payments", UnusualPayments);
    let query = session
        .read_stream()
        .format("json")
        .schema(transactions())
        .option("maxFilesPerTrigger", "1")
        .load(input)?
        .with_watermark("time", "5 minutes")?
        .group_by_key(["account"])?
        .transform_with_state("unusual_payments", TimeMode::EventTime)?
        .write_stream()
        .query_name("alerts")
        .output_mode(OutputMode::Append)
        .format("memory")
        .trigger(Trigger::available_now())
        .start(None)
        .await?;
    query.await_termination().await?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

    #[tokio::test]
    async fn the_stolen_cards_are_noticed_once_and_nobody_else_s() -> Result<()> {
        let session = run(&data("bank")).await?;
        let frame = session
            .sql("SELECT account, alert, payments FROM alerts ORDER BY account, alert")
            .await?;
        let rows = frame.collect().await?;
        let mut found = Vec::new();
        for batch in &rows {
            let text = |at: usize| batch.column(at).as_string::<i32>();
            let payments = batch.column(2).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let (account, alert) = (text(0).value(row), text(1).value(row));
                found.push(format!("{account} {alert} {}", payments.value(row)));
            }
        }
        let expected: Vec<String> = [7, 19, 33]
            .iter()
            .flat_map(|account| {
                [("begins", 1), ("ends", 6)]
                    .map(|(what, payments)| format!("DE{account:04} watch {what} {payments}"))
            })
            .collect();
        assert_eq!(found, expected);
        Ok(())
    }
}
