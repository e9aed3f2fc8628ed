//! Assignment of rows to time windows: appends the start of the window, one row per window.

use std::{collections::HashSet, fmt, sync::Arc};

use datafusion::{
    arrow::datatypes::Field,
    common::{DFSchemaRef, DataFusionError, ExprSchema, Result},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    prelude::Column,
};
use headwater_ops::window::Windows;

use super::{appended, order_of_equals};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AssignWindowsNode {
    pub(crate) input: LogicalPlan,
    pub(crate) time: Column,
    pub(crate) windows: Windows,
    pub(crate) start: String,
    schema: DFSchemaRef,
}

order_of_equals!(AssignWindowsNode);

impl AssignWindowsNode {
    /// Windows over the timestamp column `time`; the start goes into a last column named `start`.
    pub(crate) fn plan(
        input: LogicalPlan,
        time: Column,
        windows: Windows,
        start: String,
    ) -> Result<LogicalPlan> {
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(Self::try_new(input, time, windows, start)?),
        }))
    }

    fn try_new(input: LogicalPlan, time: Column, windows: Windows, start: String) -> Result<Self> {
        let data_type = input.schema().field_from_column(&time)?.data_type().clone();
        let schema = appended(&input, Field::new(&start, data_type, false))?;
        Ok(Self {
            input,
            time,
            windows,
            start,
            schema,
        })
    }
}

impl UserDefinedLogicalNodeCore for AssignWindowsNode {
    fn name(&self) -> &str {
        "AssignWindows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![Expr::Column(self.time.clone())]
    }

    /// A filter on other columns moves below: what it removes is in no window either.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([self.start.clone()])
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        Some(vec![
            output_columns
                .iter()
                .copied()
                .filter(|column| *column < inputs)
                .collect(),
        ])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "AssignWindows: {} size={}us slide={}us offset={}us",
            self.time,
            self.windows.size_micros,
            self.windows.slide_micros,
            self.windows.offset_micros
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let (Some(Expr::Column(time)), Some(input)) = (exprs.into_iter().next(), inputs.pop())
        else {
            return Err(DataFusionError::Internal(
                "windows need one time column and one input".to_owned(),
            ));
        };
        Self::try_new(input, time, self.windows, self.start.clone())
    }
}
