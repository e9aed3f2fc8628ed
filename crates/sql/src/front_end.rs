//! From SQL text to a logical plan, in a session that was made for it.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::config::Dialect;
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ExprPlanner, RelationPlanner};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion_spark::SessionStateBuilderSpark;
use headwater_payload::PlaceOfMessages;

use crate::analyzer::SparkSemantics;
use crate::ansi_aggregates::AnsiAggregates;
use crate::as_of::as_of_udf;
use crate::coercion::SparkCoercion;
use crate::expr_planner::SparkExprPlanner;
use crate::functions;
use crate::functions::aggregate::checked_sum_udaf;
use crate::hooks::StreamingHooks;
use crate::lateral_aliases;
use crate::markers::{session_window_udf, window_time_udf, window_udf};
use crate::names::standalone_name;
use crate::parser;
use crate::relation::SparkRelationPlanner;
use crate::rewrite::{self, Flavour};
use crate::spelling::Spelling;
use crate::statement::{Lexer, Script};
use crate::types::SparkTypePlanner;

/// Reads SQL over streams; see the crate.
#[derive(Debug, Clone)]
pub struct SqlFrontEnd {
    pub(crate) hooks: Arc<dyn StreamingHooks>,
    pub(crate) flavour: Flavour,
}

impl SqlFrontEnd {
    /// A front end with Spark's functions and types, whose watermarks become what `hooks` makes of them.
    pub fn new(hooks: Arc<dyn StreamingHooks>) -> Self {
        Self {
            hooks,
            flavour: Flavour::Spark,
        }
    }

    /// Whether functions, types, casts and column names are Spark's. Without it they are DataFusion's, and SQL only
    /// gains `WATERMARK`, windows and `LATERAL VIEW`.
    #[must_use]
    pub fn spark(mut self, spark: bool) -> Self {
        self.flavour = if spark {
            Flavour::Spark
        } else {
            Flavour::DataFusion
        };
        self
    }

    /// Adds to a session what plans of this front end need: functions, planners, rules and settings. To be called
    /// behind `with_default_features`, since the last function of one name counts. The session's time zone is
    /// `datafusion.execution.time_zone`, UTC if unset.
    #[must_use]
    pub fn configure(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let relations: Arc<dyn RelationPlanner> =
            Arc::new(SparkRelationPlanner::new(Arc::clone(&self.hooks)));
        builder
            .relation_planners()
            .get_or_insert_default()
            .insert(0, relations);
        let markers = [
            window_udf(),
            session_window_udf(),
            window_time_udf(),
            as_of_udf(),
        ]
        .into_iter()
        .chain(functions::zoned_timestamps::functions())
        .chain(headwater_payload::functions());
        let spark = self.flavour == Flavour::Spark;
        let analyzer = builder.analyzer().get_or_insert_default();
        analyzer.rules.push(Arc::new(AnsiAggregates::new(spark)));
        analyzer.rules.push(Arc::new(PlaceOfMessages));
        if !spark {
            let helpers = functions::collections::functions()
                .into_iter()
                .filter(|f| f.name().starts_with("__"));
            builder
                .scalar_functions()
                .get_or_insert_default()
                .extend(markers.chain(helpers));
            builder
                .aggregate_functions()
                .get_or_insert_default()
                .push(checked_sum_udaf());
            return builder;
        }

        let mut builder = builder.with_spark_features();
        let scalars = functions::scalar_functions();
        let operators: Arc<dyn ExprPlanner> = Arc::new(SparkExprPlanner::new(scalars.clone()));
        builder
            .expr_planners()
            .get_or_insert_default()
            .insert(0, operators);
        let registered = builder.scalar_functions().get_or_insert_default();
        registered.extend(markers.chain(scalars));
        let of_texts = functions::wrapped(registered);
        registered.extend(of_texts);
        builder
            .higher_order_functions()
            .get_or_insert_default()
            .extend(functions::higher_order_functions());
        builder
            .aggregate_functions()
            .get_or_insert_default()
            .extend(functions::aggregate::functions());
        let options = builder
            .config()
            .get_or_insert_with(SessionConfig::new)
            .options_mut();
        options.sql_parser.dialect = Dialect::Spark;
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.enable_ansi_mode = true;
        options
            .execution
            .time_zone
            .get_or_insert_with(|| "UTC".to_owned());
        let analyzer = builder.analyzer().get_or_insert_default();
        analyzer.rules.insert(0, Arc::new(SparkCoercion));
        analyzer.rules.push(Arc::new(SparkSemantics));
        builder.with_type_planner(Arc::new(SparkTypePlanner))
    }

    /// Takes texts apart as [`Self::script`] does, whether they are whole or not.
    pub fn lexer(&self) -> Lexer {
        Lexer::of(self.flavour)
    }

    /// Reads a text of statements, with names and texts quoted as the session has it: with Spark's words names stand in
    /// backticks and texts in either quotes, with a backslash before what stands for something else; without them
    /// double quotes stand around names too, and a backslash is one.
    ///
    /// # Errors
    /// With line and column of what cannot be read.
    pub fn script(&self, text: &str) -> Result<Script> {
        Script::parse_as(text, self.flavour)
    }

    /// Plans one statement over the tables of `state`.
    ///
    /// # Errors
    /// When the text cannot be read (with line and column), names what does not exist, or asks for what neither Spark
    /// nor DataFusion has.
    pub async fn plan(&self, state: &SessionState, sql: &str) -> Result<LogicalPlan> {
        self.plan_statement(state, parser::parse_as(sql, self.flavour)?)
            .await
    }

    /// Plans a statement that has been read, see [`crate::statement`].
    ///
    /// # Errors
    /// Like [`plan`](Self::plan).
    pub async fn plan_statement(
        &self,
        state: &SessionState,
        mut statement: Statement,
    ) -> Result<LogicalPlan> {
        loop {
            let error = match self.plan_as_written(state, statement.clone()).await {
                Ok(plan) => return Ok(plan),
                Err(error) => error,
            };
            // Every round leaves one name less to the right of its alias.
            match lateral_aliases::unknown_name(&error) {
                Some(name) if lateral_aliases::write_out(&mut statement, &name) => {}
                _ => return Err(error),
            }
        }
    }

    async fn plan_as_written(
        &self,
        state: &SessionState,
        mut statement: Statement,
    ) -> Result<LogicalPlan> {
        if self.flavour == Flavour::Spark {
            self.correct_names(state, &mut statement).await?;
        }
        rewrite::statement(&mut statement, self.flavour)?;
        state.statement_to_plan(statement).await
    }

    /// Plans one expression, `v + 1` or `sum(v) AS s`, over columns of `schema`.
    ///
    /// # Errors
    /// Like [`plan`](Self::plan).
    pub fn plan_expr(&self, state: &SessionState, schema: &DFSchema, text: &str) -> Result<Expr> {
        let mut parsed = parser::parse_expr_as(text, self.flavour)?;
        if self.flavour == Flavour::Spark {
            let mut spelling = Spelling::default();
            spelling.declare_fields(schema.as_arrow().fields());
            schema
                .iter()
                .filter_map(|(relation, _)| relation)
                .for_each(|r| spelling.declare(r.table()));
            spelling.correct(&mut parsed.expr);
        }
        let name = match (&parsed.alias, self.flavour) {
            (None, Flavour::Spark) => standalone_name(&parsed.expr),
            _ => None,
        };
        rewrite::expression(&mut parsed.expr, self.flavour)?;
        let planned = state.create_logical_expr_from_sql_expr(parsed, schema)?;
        Ok(match (name, &planned) {
            (None, _) | (_, Expr::Column(_)) => planned,
            (Some(name), _) => planned.alias(name),
        })
    }

    async fn correct_names(&self, state: &SessionState, statement: &mut Statement) -> Result<()> {
        let mut spelling = Spelling::default();
        for reference in state.resolve_table_references(statement)? {
            if let Some((name, table)) = find_table(state, &reference).await? {
                spelling.declare_table(&reference.to_string(), &name);
                spelling.declare_fields(table.schema().fields());
            }
        }
        rewrite::inner(statement, &mut |inner| spelling.correct(inner));
        Ok(())
    }
}

/// The table that `reference` names in any case, and the name it was registered under.
async fn find_table(
    state: &SessionState,
    reference: &TableReference,
) -> Result<Option<(String, Arc<dyn TableProvider>)>> {
    let Ok(schema) = state.schema_for_ref(reference.clone()) else {
        return Ok(None);
    };
    let written = reference.table();
    if let Some(table) = schema.table(written).await? {
        return Ok(Some((written.to_owned(), table)));
    }
    let Some(name) = schema
        .table_names()
        .into_iter()
        .find(|name| name.eq_ignore_ascii_case(written))
    else {
        return Ok(None);
    };
    Ok(schema.table(&name).await?.map(|table| (name, table)))
}
