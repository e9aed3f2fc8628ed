//! `headwater state`: what the operators of a query remember.

use headwater::{DataFrame, OperatorState, Session, StoreState};

use crate::{
    args::{StateArgs, Versions},
    exit::{self, Failure},
    table,
};

/// What `--sql` calls the rows.
const TABLE: &str = "state";

/// Prints operators, or the rows of one of their stores.
pub(crate) async fn state(args: StateArgs) -> Result<(), Failure> {
    let session = Session::new();
    let reader = session.read_state(&args.checkpoint).await;
    let reader = reader.map_err(|error| Failure::of_planning(&error))?;
    let Some(operator) = &args.operator else {
        let frame = reader.operators_frame();
        return show(&args, frame.map_err(|error| Failure::of_planning(&error))?).await;
    };
    let operator = reader.operator(operator);
    let operator = operator.map_err(|error| Failure::of_planning(&error))?;
    let rows = match &args.store {
        None => rows_of(&operator, &args).await,
        Some(store) => match operator.store(store) {
            Ok(store) => rows_in(&store, &args).await,
            Err(error) => Err(error),
        },
    };
    let rows = rows.map_err(|error| Failure::of_planning(&error))?;
    let rows = match &args.sql {
        None => rows,
        Some(query) => asked(&session, rows, query)
            .await
            .map_err(|error| Failure::of_planning(&error))?,
    };
    show(&args, rows).await
}

async fn rows_of(operator: &OperatorState, args: &StateArgs) -> headwater::Result<DataFrame> {
    match (args.version, args.changes) {
        (Some(version), _) => operator.version(version).await,
        (None, Some(Versions { from, to })) => operator.changes(from, to).await,
        (None, None) => operator.latest().await,
    }
}

async fn rows_in(store: &StoreState, args: &StateArgs) -> headwater::Result<DataFrame> {
    match (args.version, args.changes) {
        (Some(version), _) => store.version(version).await,
        (None, Some(Versions { from, to })) => store.changes(from, to).await,
        (None, None) => store.latest().await,
    }
}

async fn asked(session: &Session, rows: DataFrame, query: &str) -> headwater::Result<DataFrame> {
    session.register_view(TABLE, rows)?;
    session.sql(query).await
}

/// Prints the rows, no more than asked for, and says so if there are more.
async fn show(args: &StateArgs, rows: DataFrame) -> Result<(), Failure> {
    if args.limit == 0 {
        return exit::print(&table::collect(rows).await?);
    }
    let one_more = rows.limit(args.limit.saturating_add(1));
    let rows = one_more.map_err(|error| Failure::of_planning(&error))?;
    let batches = rows.collect().await;
    let batches = batches.map_err(|error| Failure::failed(error.to_string()))?;
    let (shown, has_more) = table::first(&batches, args.limit);
    exit::print(&table::draw(&shown)?)?;
    if has_more {
        exit::print(&format!(
            "the first {} rows; --limit 0 shows all\n",
            args.limit
        ))?;
    }
    Ok(())
}
