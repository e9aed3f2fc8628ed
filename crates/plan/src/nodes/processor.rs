//! Arbitrary state: user code that is called for each key, by name.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Schema, SchemaRef},
    common::{DFSchema, DFSchemaRef, DataFusionError, Result},
    logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore},
    prelude::Column,
};
use headwater_core::OutputMode;
use headwater_ops::processor::{Call, ProcessorInput, ProcessorSpec, TimeMode};

use super::order_of_equals;

/// What a call of a processor is to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessorCall {
    /// The name under which the code is registered.
    pub name: String,
    /// What it is used as.
    pub call: Call,
    /// Which time its timers follow.
    pub time_mode: TimeMode,
    /// The only output mode that it may run in, if it says so.
    pub output_mode: Option<OutputMode>,
    /// The output column that carries event time on, if one does.
    pub event_time: Option<String>,
}

/// Calls user code for each key with its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ProcessorNode {
    /// The rows, keys that are computed behind them.
    pub(crate) input: LogicalPlan,
    pub(crate) keys: Vec<Column>,
    /// A static plan whose rows the processor is given in the first epoch, and its keys.
    pub(crate) initial: Option<(LogicalPlan, Vec<Column>)>,
    /// How many leading columns of the initial state the processor sees.
    pub(crate) initial_visible: usize,
    pub(crate) call: ProcessorCall,
    /// Columns of the key, and of the rows that the processor sees: so many leading columns of the input.
    pub(crate) visible: ProcessorInput,
    /// What the processor declares for them.
    pub(crate) spec: ProcessorSpec,
    /// Set when the plan is prepared to run: the event time by which rows are late, and whether there is a watermark.
    pub(crate) time: Option<ProcessorTime>,
    /// Set when the plan is prepared to run; empty before.
    pub(crate) id: String,
    pub(crate) schema: DFSchemaRef,
}

/// The event time of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ProcessorTime {
    pub(crate) column: Column,
    /// How far behind its value a row is late.
    pub(crate) extra_micros: i64,
}

order_of_equals!(ProcessorNode);

/// Rows grouped by a key for a processor: the rows, and the columns behind them that are computed.
struct Grouped {
    plan: LogicalPlan,
    keys: Vec<Column>,
    visible: usize,
}

/// Name of a column that holds a computed key.
const KEY: &str = "__key";

/// Adds the keys that are no plain columns.
fn grouped(input: LogicalPlan, keys: Vec<Expr>) -> Result<Grouped> {
    if keys.is_empty() {
        return Err(DataFusionError::Plan(
            "group_by_key needs at least one key: use lit(0) for one key over all rows".to_owned(),
        ));
    }
    let visible = input.schema().fields().len();
    let mut columns = Vec::with_capacity(keys.len());
    let mut computed = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        if let Expr::Column(column) = &key {
            let index = input.schema().index_of_column(column)?;
            columns.push(Column::from(input.schema().qualified_field(index)));
            continue;
        }
        let name = match key {
            Expr::Alias(ref alias) => alias.name.clone(),
            _ => format!("{KEY}{number}"),
        };
        let name = match input.schema().has_column_with_unqualified_name(&name) {
            true => format!("{KEY}{number}"),
            false => name,
        };
        columns.push(Column::from_name(&name));
        computed.push(key.unalias().alias(name));
    }
    let plan = match computed.is_empty() {
        true => input,
        false => {
            let all = input.schema().columns().into_iter().map(Expr::Column);
            let all: Vec<Expr> = all.chain(computed).collect();
            LogicalPlanBuilder::from(input).project(all)?.build()?
        }
    };
    Ok(Grouped {
        plan,
        keys: columns,
        visible,
    })
}

impl Grouped {
    fn keys_schema(&self) -> Result<SchemaRef> {
        let schema = self.plan.schema();
        let fields = self.keys.iter().map(|key| {
            let field = schema.field(schema.index_of_column(key)?);
            Ok(field.as_ref().clone().with_nullable(true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }

    fn input(&self) -> Result<ProcessorInput> {
        let fields = self.plan.schema().fields().iter().take(self.visible);
        Ok(ProcessorInput {
            keys: self.keys_schema()?,
            rows: Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())),
        })
    }
}

/// What the code will be given when `input` is grouped by `keys`.
///
/// # Errors
/// No key, or one that does not exist.
pub fn processor_input(input: LogicalPlan, keys: Vec<Expr>) -> Result<ProcessorInput> {
    grouped(input, keys)?.input()
}

/// Calls a processor or a group function for each key of `input`. `initial` are rows with the same keys that it is given
/// before any other, in the first epoch; `spec` is what it declares for [`processor_input`].
///
/// # Errors
/// A key that does not exist, an initial state whose keys are of other types or that is itself a stream, and an
/// event-time column that the output lacks.
pub fn call_processor(
    input: LogicalPlan,
    keys: Vec<Expr>,
    call: ProcessorCall,
    spec: ProcessorSpec,
    initial: Option<(LogicalPlan, Vec<Expr>)>,
) -> Result<LogicalPlan> {
    let rows = grouped(input, keys)?;
    let visible = rows.input()?;
    let initial = initial
        .map(|(plan, keys)| grouped(plan, keys))
        .transpose()?;
    if let Some(initial) = &initial {
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            let fields = schema.fields().iter();
            fields.map(|field| field.data_type().clone()).collect()
        };
        let (wanted, found) = (types(&visible.keys), types(&initial.keys_schema()?));
        if wanted != found {
            return Err(DataFusionError::Plan(format!(
                "the rows of processor '{}' have keys of the types {wanted:?}, its initial state has {found:?}: cast \
                 the keys of the initial state",
                call.name
            )));
        }
    }
    if let Some(name) = &call.event_time {
        let field = spec.output.field_with_name(name).map_err(|_| {
            DataFusionError::Plan(format!(
                "the output of processor '{}' has no column '{name}' to carry event time: name one of its columns",
                call.name
            ))
        })?;
        if !matches!(field.data_type(), DataType::Timestamp(_, _)) {
            return Err(DataFusionError::Plan(format!(
                "column '{name}' of the output of processor '{}' is {}, not a timestamp: it cannot carry event time",
                call.name,
                field.data_type()
            )));
        }
    }
    let schema = DFSchema::try_from(spec.output.as_ref().clone())?;
    let initial_visible = initial.as_ref().map_or(0, |initial| initial.visible);
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(ProcessorNode {
            input: rows.plan,
            keys: rows.keys,
            initial: initial.map(|initial| (initial.plan, initial.keys)),
            initial_visible,
            call,
            visible,
            spec,
            time: None,
            id: String::new(),
            schema: Arc::new(schema),
        }),
    }))
}

impl UserDefinedLogicalNodeCore for ProcessorNode {
    fn name(&self) -> &str {
        "Processor"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        let initial = self.initial.iter().map(|(plan, _)| plan);
        [&self.input].into_iter().chain(initial).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// Columns are by name, and user code sees all of them: nothing is left to the optimiser.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let all = |plan: &LogicalPlan| (0..plan.schema().fields().len()).collect();
        Some(self.inputs().into_iter().map(all).collect())
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(Column::flat_name).collect();
        write!(
            f,
            "Processor: {} {}({}) keys=[{}] time={}",
            self.id,
            self.call.call.name(),
            self.call.name,
            keys.join(", "),
            self.call.time_mode.name()
        )
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter();
        let wrong = || DataFusionError::Internal("a processor has lost an input".to_owned());
        let input = inputs.next().ok_or_else(wrong)?;
        let initial = match &self.initial {
            None => None,
            Some((_, keys)) => Some((inputs.next().ok_or_else(wrong)?, keys.clone())),
        };
        Ok(Self {
            input,
            initial,
            ..self.clone()
        })
    }
}
