//! DataFusion's planner's messages in the words of whoever wrote the text, with what to write instead.

use headwater_core::nearest;

use super::{Names, types};

/// A message of the planner, reworded where it means nothing to its reader.
pub(super) fn reworded(message: &str, names: &Names) -> String {
    let message = plain(message);
    let known: [fn(&str, &Names) -> Option<String>; 8] = [
        table, function, arguments, condition, group, twice, sides, operands,
    ];
    let found = known.iter().find_map(|known| known(&message, names));
    types::shown(&found.unwrap_or(message))
}

/// Without what says which part of the planner speaks.
fn plain(message: &str) -> String {
    let mut message = message.to_owned();
    for noise in [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Internal error: ",
        "Schema error: ",
        "External error: ",
        "Invalid or Unsupported Configuration: ",
        "SQL error: ",
        "type_coercion\ncaused by\n",
        "datafusion.public.",
    ] {
        message = message.replace(noise, "");
    }
    // A request to report a bug, where there is none.
    if let Some(at) = message.find("\nThis issue was likely caused by a bug") {
        let behind = message[at + 1..].find('\n').map(|end| at + 1 + end);
        let request_end = message[at..]
            .find("/issues")
            .map(|end| at + end + "/issues".len());
        let end = request_end.or(behind).unwrap_or(message.len());
        message.replace_range(at..end, "");
    }
    message
}

/// What stands between two pieces of a text.
fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}

fn table(message: &str, names: &Names) -> Option<String> {
    let name = message
        .strip_prefix("table '")?
        .strip_suffix("' not found")?;
    if names
        .sinks
        .iter()
        .any(|sink| sink.eq_ignore_ascii_case(name))
    {
        return Some(format!(
            "'{name}' is a sink: one of files or in memory is a table too, once a query inserts into it; write INSERT \
             INTO {name} SELECT … before"
        ));
    }
    let advice = match nearest(name, names.tables.iter().map(String::as_str)) {
        Some(close) => format!("did you mean '{close}'?"),
        None => format!(
            "SHOW TABLES lists those there are, and CREATE STREAM {name} … USING … defines one"
        ),
    };
    Some(format!("there is no table or stream '{name}': {advice}"))
}

fn function(message: &str, names: &Names) -> Option<String> {
    let name = between(message, "Invalid function '", "'")?;
    let advice = match nearest(name, names.functions.iter().map(String::as_str)) {
        Some(close) => format!("did you mean '{close}'?"),
        None => "SHOW FUNCTIONS lists those there are".to_owned(),
    };
    Some(format!("there is no function '{name}': {advice}"))
}

/// `… No function matches the given name and argument types 'upper(Utf8, Int64)'. … Candidate functions:\n\tupper(…)`
fn arguments(message: &str, _: &Names) -> Option<String> {
    let call = between(message, "argument types '", "'.")?;
    let name = call.split('(').next().unwrap_or(call);
    let (before, _) = message.split_once(" No function matches the given name")?;
    let (_, candidates) = message.split_once("Candidate functions:")?;
    // Functions that look at their arguments themselves say what is wrong.
    if candidates.contains("UserDefined") {
        let own = before
            .rsplit_once("failed with: ")
            .map_or(before, |(_, own)| own);
        return Some(own.trim_end_matches('.').to_owned());
    }
    let forms: Vec<String> = candidates
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(6)
        .map(|line| line.replace("String", "STRING"))
        .collect();
    Some(format!(
        "the function '{name}' does not take what {call} gives it: write {}, with CAST(… AS …) where a type differs",
        forms.join(" or ")
    ))
}

fn condition(message: &str, _: &Names) -> Option<String> {
    let expr = between(message, "non-boolean predicate '", "' returning ")?;
    let (_, found) = message.split_once("' returning ")?;
    Some(format!(
        "WHERE needs a condition, and '{expr}' is {found}: write a comparison, such as {expr} > 0"
    ))
}

fn group(message: &str, _: &Names) -> Option<String> {
    let (expr, _) = message.split_once(" must appear in GROUP BY")?;
    let expr = expr.trim_matches('\'');
    Some(format!(
        "'{expr}' is neither a key of GROUP BY nor inside an aggregate: add it to GROUP BY, or write max({expr}) or \
         another aggregate"
    ))
}

fn twice(message: &str, _: &Names) -> Option<String> {
    let rest = message
        .strip_prefix("Projections require unique expression names but the expression \"")?;
    let (first, _) = rest.split_once("\" at position")?;
    let name = first.rsplit(" AS ").next().unwrap_or(first);
    Some(format!(
        "two columns are called '{name}': give one of them another name with AS"
    ))
}

/// `UNION queries have different number of columns; this side has 1 fields; this side has 2 fields`
fn sides(message: &str, _: &Names) -> Option<String> {
    let (what, counts) = message.split_once(" queries have different number of columns")?;
    let counts: Vec<&str> = counts
        .split("this side has ")
        .skip(1)
        .filter_map(|count| count.split(' ').next())
        .collect();
    Some(format!(
        "the queries of {what} have different numbers of columns ({}): select as many in each",
        counts.join(" and ")
    ))
}

/// `Cannot coerce arithmetic expression Timestamp(…) + Int64 to valid types`, and of comparisons.
fn operands(message: &str, _: &Names) -> Option<String> {
    let types = message
        .strip_prefix("Cannot coerce arithmetic expression ")
        .and_then(|rest| rest.strip_suffix(" to valid types"))
        .or_else(|| {
            between(
                message,
                "Cannot infer common argument type for comparison operation ",
                "\n",
            )
        })
        .or_else(|| {
            message.strip_prefix("Cannot infer common argument type for comparison operation ")
        })?;
    let advice = match types.contains("Timestamp") || types.contains("Date32") {
        true => {
            "a time is moved by an interval, such as + INTERVAL 5 SECONDS, and compared with a time, such as \
             TIMESTAMP '2024-01-01 00:00:00'"
        }
        false => "convert one of them, with CAST(… AS …)",
    };
    Some(format!("the types of {types} do not go together: {advice}"))
}
