//! `headwater checkpoint`: what a query's checkpoint holds, and whether it is whole.

use headwater::{CheckpointOverview, Session, Verification};
use serde_json::{Value, json};

use crate::{
    args::CheckpointArgs,
    checkpoint_text as text,
    exit::{self, Failure},
};

/// Prints a checkpoint; with `--verify`, reads all of it.
pub(crate) async fn checkpoint(args: CheckpointArgs) -> Result<(), Failure> {
    let session = Session::new();
    let reader = session.read_checkpoint(&args.checkpoint).await;
    let reader = reader.map_err(|error| Failure::of_planning(&error))?;
    let last = (args.last > 0).then_some(args.last);
    let overview = reader.overview(last).await;
    let overview = overview.map_err(|error| Failure::failed(error.to_string()))?;
    let verification = match args.verify {
        true => Some(reader.verify().await),
        false => None,
    };
    let verification = verification
        .transpose()
        .map_err(|error| Failure::failed(error.to_string()))?;
    match args.json {
        true => exit::print(&as_json(&overview, verification.as_ref())?)?,
        false => exit::print(&text::overview(&overview)?)?,
    }
    if let Some(verification) = verification.as_ref().filter(|_| !args.json) {
        exit::print(&text::verification(verification))?;
    }
    let damaged = match &verification {
        Some(verification) => verification.damaged.len(),
        None => overview.damaged.len(),
    };
    match damaged {
        0 => Ok(()),
        1 => Err(damage(&overview, "a file")),
        damaged => Err(damage(&overview, &format!("{damaged} files"))),
    }
}

fn damage(overview: &CheckpointOverview, what: &str) -> Failure {
    Failure::failed(format!(
        "the checkpoint in {} is not whole: {what} that it needs cannot be used",
        overview.place
    ))
}

fn as_json(
    overview: &CheckpointOverview,
    verification: Option<&Verification>,
) -> Result<String, Failure> {
    let object = || -> serde_json::Result<Value> {
        let mut object = serde_json::to_value(overview)?;
        if let Some(verification) = verification {
            object["verification"] = json!(verification);
        }
        Ok(object)
    };
    let text = object().and_then(|object| serde_json::to_string(&object));
    let text = text.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(format!("{text}\n"))
}
