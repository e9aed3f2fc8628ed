//! Rows grouped by a key for code of one's own: `transform_with_state` and the shorter functions over groups.

use datafusion::{dataframe::DataFrame as Inner, logical_expr::Expr};
use headwater_core::{Error, OutputMode, Result};
use headwater_ops::processor::{Call, ProcessorRegistry, TimeMode};
use headwater_plan::{ProcessorCall, call_processor, processor_input};

use crate::{
    columns::{IntoExpr, expressions},
    error::from_datafusion,
    frame::DataFrame,
};

/// The result of [`DataFrame::group_by_key`]: say which code is to be called for each key.
#[derive(Debug, Clone)]
#[must_use = "grouped rows do nothing until a function is called for them"]
pub struct KeyedFrame {
    frame: DataFrame,
    keys: Vec<Expr>,
}

/// How a processor or group function is called; made of a [`TimeMode`] alone where that is all there is to say.
#[derive(Debug, Clone)]
pub struct StatefulOptions {
    time_mode: TimeMode,
    output_mode: Option<OutputMode>,
    initial: Option<KeyedFrame>,
    event_time: Option<String>,
}

impl From<TimeMode> for StatefulOptions {
    fn from(time_mode: TimeMode) -> Self {
        Self::new(time_mode)
    }
}

impl StatefulOptions {
    /// Timers or timeouts follow this time.
    pub fn new(time_mode: TimeMode) -> Self {
        Self {
            time_mode,
            output_mode: None,
            initial: None,
            event_time: None,
        }
    }

    /// The only output mode that the code is written for. A query in another mode is refused; without this, it runs in
    /// append and in update mode.
    #[must_use]
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.output_mode = Some(mode);
        self
    }

    /// Rows that a processor is given before any other, in the query's first epoch: a static frame, grouped by keys of
    /// the same types.
    #[must_use]
    pub fn initial_state(mut self, rows: KeyedFrame) -> Self {
        self.initial = Some(rows);
        self
    }

    /// The column of the output that carries event time, so that windows and other operators with a watermark can stand
    /// above. The code must not give out times that are before the watermark in force: that ends the query.
    #[must_use]
    pub fn event_time(mut self, column: impl Into<String>) -> Self {
        self.event_time = Some(column.into());
        self
    }
}

impl KeyedFrame {
    pub(crate) fn new<I>(frame: DataFrame, keys: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: IntoExpr,
    {
        let keys = expressions(keys, frame.schema());
        for column in keys.iter().flat_map(Expr::column_refs) {
            if !frame.schema().is_column_from_schema(column) {
                return Err(frame.no_column(&column.flat_name()));
            }
        }
        Ok(Self { frame, keys })
    }

    /// Calls the processor that is registered under this name for each key; see
    /// [`Session::register_processor`](crate::Session::register_processor).
    ///
    /// # Errors
    /// `Invalid` if there is no such processor, or it refuses this input.
    pub fn transform_with_state(
        self,
        processor: &str,
        options: impl Into<StatefulOptions>,
    ) -> Result<DataFrame> {
        self.call(processor, Call::Transform, options.into())
    }

    /// Calls the group function that is registered under this name for each key; it gives out any number of rows. See
    /// [`Session::register_group_function`](crate::Session::register_group_function).
    ///
    /// # Errors
    /// `Invalid` if there is no such function.
    pub fn flat_map_groups_with_state(
        self,
        function: &str,
        options: impl Into<StatefulOptions>,
    ) -> Result<DataFrame> {
        self.call(function, Call::FlatMapGroups, options.into())
    }

    /// As [`Self::flat_map_groups_with_state`], for a function that gives out exactly one row whenever it is called.
    ///
    /// # Errors
    /// `Invalid` if there is no such function.
    pub fn map_groups_with_state(
        self,
        function: &str,
        options: impl Into<StatefulOptions>,
    ) -> Result<DataFrame> {
        self.call(function, Call::MapGroups, options.into())
    }

    fn call(self, name: &str, call: Call, options: StatefulOptions) -> Result<DataFrame> {
        if options.output_mode == Some(OutputMode::Complete) {
            return Err(Error::invalid(format!(
                "{}('{name}') cannot be declared for complete mode, which would need every row that it ever gave out: \
                 declare it for append or update mode",
                call.name()
            )));
        }
        if options.initial.is_some() && call != Call::Transform {
            return Err(Error::invalid(format!(
                "{}('{name}') takes no initial state: use transform_with_state",
                call.name()
            )));
        }
        let (state, plan) = self.frame.into_inner().into_parts();
        let registry = ProcessorRegistry::of(state.config())?;
        let input = processor_input(plan.clone(), self.keys.clone()).map_err(from_datafusion)?;
        let spec = registry.spec(name, call, &input)?;
        let initial = options.initial.map(|initial| {
            let (_, plan) = initial.frame.into_inner().into_parts();
            (plan, initial.keys)
        });
        let call = ProcessorCall {
            name: name.to_owned(),
            call,
            time_mode: options.time_mode,
            output_mode: options.output_mode,
            event_time: options.event_time,
        };
        let plan = call_processor(plan, self.keys, call, spec, initial).map_err(from_datafusion)?;
        Ok(Inner::new(state, plan).into())
    }
}
