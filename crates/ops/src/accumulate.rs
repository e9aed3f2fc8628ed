//! Aggregates as kernels over stored states: fresh accumulators merge old states and new ones, and are drained into
//! the states that are stored next.
//!
//! What is stored for an aggregate is its own partial state, so every DataFusion aggregate works, user-defined ones
//! too. A DISTINCT aggregate is the exception: it stores the state of the same function *without* DISTINCT and is fed
//! only values that are new for their group (see [`crate::distinct`]), because a set must not be rewritten whole
//! whenever one value is added to it.

use std::{ops::Range, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, BooleanArray, UInt64Array},
        compute::take,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{DataFusionError, Result},
    logical_expr::{EmitTo, GroupsAccumulator},
    physical_expr::{
        GroupsAccumulatorAdapter,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
    },
};

use crate::order_of_rows::depends_on_order;

/// One accumulator per aggregate, over the same groups.
pub(crate) type Accumulators = Vec<Box<dyn GroupsAccumulator>>;

/// One aggregate: what the partial aggregation sends and what the state keeps.
#[derive(Debug, Clone)]
struct Slot {
    /// The function whose states are stored and whose accumulators merge them.
    stored: Arc<AggregateFunctionExpr>,
    /// Columns of the stored values.
    stored_columns: Range<usize>,
    /// Columns of the partial rows, keys not counted.
    incoming_columns: Range<usize>,
    /// The type of the argument of a DISTINCT aggregate whose partial state is a list of values.
    distinct: Option<DataType>,
}

/// A DISTINCT aggregate whose values are kept apart.
pub(crate) struct DistinctSlot<'a> {
    /// Its number among the aggregates.
    pub(crate) number: usize,
    /// What it computes.
    pub(crate) name: &'a str,
    /// Column of the partial rows, keys not counted.
    pub(crate) column: usize,
    /// Type of the argument.
    pub(crate) argument: &'a DataType,
}

/// How the states of all aggregates of one operator lie in its input and in its state.
#[derive(Debug, Clone)]
pub struct AggregateLayout {
    slots: Vec<Slot>,
    values: SchemaRef,
    chained: bool,
    order_sensitive: bool,
    /// Whether there is one group of all rows. It may have had no rows, which accumulators over groups, made for groups
    /// that have, get wrong: an average would be NaN instead of null.
    one_group: bool,
}

impl AggregateLayout {
    /// The layout of `aggregates`, as a partial aggregation over `input_schema` runs them.
    pub fn try_new(
        aggregates: &[Arc<AggregateFunctionExpr>],
        input_schema: &SchemaRef,
        one_group: bool,
    ) -> Result<Self> {
        let distinct = aggregates
            .iter()
            .map(|aggregate| Ok(distinct_argument(aggregate, &aggregate.state_fields()?)))
            .collect::<Result<Vec<_>>>()?;
        Self::over(aggregates, distinct, input_schema, one_group)
    }

    /// The layout of `aggregates` where every state is stored as the partial aggregation sends it, sets and lists
    /// included: for groups that are merged into one another, such as sessions, whose sets cannot be kept elsewhere by
    /// key.
    pub fn of_merged_groups(
        aggregates: &[Arc<AggregateFunctionExpr>],
        input_schema: &SchemaRef,
    ) -> Result<Self> {
        let none = vec![None; aggregates.len()];
        Self::over(aggregates, none, input_schema, false)
    }

    /// `distinct` has the type of the argument of each aggregate whose values are kept apart.
    fn over(
        aggregates: &[Arc<AggregateFunctionExpr>],
        distinct: Vec<Option<DataType>>,
        input_schema: &SchemaRef,
        one_group: bool,
    ) -> Result<Self> {
        let mut slots = Vec::with_capacity(aggregates.len());
        let mut fields: Vec<Field> = Vec::new();
        let mut incoming = 0;
        let mut chained = false;
        for (aggregate, distinct) in aggregates.iter().zip(distinct) {
            let partial = aggregate.state_fields()?;
            let stored = match distinct {
                Some(_) => Arc::new(without_distinct(aggregate, input_schema)?),
                None => Arc::clone(aggregate),
            };
            let states = stored.state_fields()?;
            chained |= states.iter().any(|state| grows(state.data_type()));
            let first = fields.len();
            for state in &states {
                let name = state_name(aggregate.name(), state.name());
                let name = (1..)
                    .map(|number| match number {
                        1 => name.clone(),
                        number => format!("{name} {number}"),
                    })
                    .find(|name| fields.iter().all(|field| field.name() != name))
                    .unwrap_or_default();
                fields.push(Field::new(name, state.data_type().clone(), true));
            }
            slots.push(Slot {
                stored,
                stored_columns: first..fields.len(),
                incoming_columns: incoming..incoming + partial.len(),
                distinct,
            });
            incoming += partial.len();
        }
        Ok(Self {
            order_sensitive: aggregates
                .iter()
                .any(|aggregate| depends_on_order(aggregate.fun())),
            slots,
            values: Arc::new(Schema::new(fields)),
            chained,
            one_group,
        })
    }

    /// Columns of the stored values.
    pub fn values(&self) -> &SchemaRef {
        &self.values
    }

    /// Whether some state is a list, so that a key's states are kept as a chain and not rewritten at each touch.
    pub fn chained(&self) -> bool {
        self.chained
    }

    /// Whether some answer depends on the order of arrival.
    pub fn order_sensitive(&self) -> bool {
        self.order_sensitive
    }

    /// Number of columns that the partial aggregation sends after the keys.
    pub fn incoming_columns(&self) -> usize {
        self.slots
            .last()
            .map_or(0, |slot| slot.incoming_columns.end)
    }

    /// The DISTINCT aggregates whose values are kept apart.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = DistinctSlot<'_>> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| {
            Some(DistinctSlot {
                number,
                name: slot.stored.name(),
                column: slot.incoming_columns.start,
                argument: slot.distinct.as_ref()?,
            })
        })
    }

    /// Accumulators without any rows.
    pub(crate) fn fresh(&self) -> Result<Accumulators> {
        self.slots
            .iter()
            .map(|slot| groups_accumulator(&slot.stored, self.one_group))
            .collect()
    }

    /// Merges stored states; `groups` is the number of groups in all.
    pub(crate) fn merge_stored(
        &self,
        accumulators: &mut Accumulators,
        values: &[ArrayRef],
        ids: &[usize],
        groups: usize,
    ) -> Result<()> {
        for (slot, accumulator) in self.slots.iter().zip(accumulators) {
            accumulator.merge_batch(&values[slot.stored_columns.clone()], ids, groups)?;
        }
        Ok(())
    }

    /// Merges the states of a partial aggregation; DISTINCT aggregates are left to [`Self::update_distinct`].
    pub(crate) fn merge_incoming(
        &self,
        accumulators: &mut Accumulators,
        partial: &[ArrayRef],
        ids: &[usize],
        groups: usize,
    ) -> Result<()> {
        for (slot, accumulator) in self.slots.iter().zip(accumulators) {
            if slot.distinct.is_none() {
                accumulator.merge_batch(&partial[slot.incoming_columns.clone()], ids, groups)?;
            }
        }
        Ok(())
    }

    /// Adds values that are new for their group to DISTINCT aggregate number `number`.
    pub(crate) fn update_distinct(
        &self,
        accumulators: &mut Accumulators,
        number: usize,
        new_values: &ArrayRef,
        ids: &[usize],
        groups: usize,
    ) -> Result<()> {
        // One more row for each group, filtered out again: groups without a new value must be known to exist without
        // being taken for groups that had one.
        let added = new_values.len();
        let rows =
            UInt64Array::from_iter((0..added as u64).map(Some).chain((0..groups).map(|_| None)));
        let values = take(new_values, &rows, None)?;
        let ids: Vec<usize> = ids.iter().copied().chain(0..groups).collect();
        let wanted: BooleanArray = (0..values.len()).map(|row| Some(row < added)).collect();
        accumulators[number].update_batch(&[values], &ids, Some(&wanted), groups)
    }

    /// Drains the accumulators into states as they are stored.
    pub(crate) fn states(&self, accumulators: &mut Accumulators) -> Result<Vec<ArrayRef>> {
        let mut values = Vec::with_capacity(self.values.fields().len());
        for accumulator in accumulators {
            values.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(values)
    }

    /// Drains the accumulators into results.
    pub(crate) fn results(&self, accumulators: &mut Accumulators) -> Result<Vec<ArrayRef>> {
        accumulators
            .iter_mut()
            .map(|accumulator| accumulator.evaluate(EmitTo::All))
            .collect()
    }
}

/// What a column of state is called: the aggregate and which of its numbers it is, as in `avg(x)[sum]`. Columns are
/// known by these names across restarts.
fn state_name(aggregate: &str, state: &str) -> String {
    let which = state
        .strip_prefix(aggregate)
        .and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'))
        .unwrap_or(state);
    format!("{aggregate}[{which}]")
}

/// Whether a state of this type grows with the number of rows.
fn grows(state: &DataType) -> bool {
    match state {
        DataType::List(_) | DataType::LargeList(_) => true,
        DataType::Struct(fields) => fields.iter().any(|field| grows(field.data_type())),
        _ => false,
    }
}

/// The argument's type, if this is a DISTINCT aggregate whose partial state is the list of its values.
fn distinct_argument(
    aggregate: &AggregateFunctionExpr,
    partial: &[Arc<Field>],
) -> Option<DataType> {
    if !aggregate.is_distinct() || !aggregate.order_bys().is_empty() {
        return None;
    }
    match partial {
        [state] => match state.data_type() {
            DataType::List(item) => Some(item.data_type().clone()),
            _ => None,
        },
        _ => None,
    }
}

fn without_distinct(
    aggregate: &AggregateFunctionExpr,
    input_schema: &SchemaRef,
) -> Result<AggregateFunctionExpr> {
    AggregateExprBuilder::new(Arc::new(aggregate.fun().clone()), aggregate.expressions())
        .schema(Arc::clone(input_schema))
        .alias(aggregate.name())
        .with_ignore_nulls(aggregate.ignore_nulls())
        .build()
        .map_err(|error| {
            DataFusionError::Context(format!("aggregate {}", aggregate.name()), Box::new(error))
        })
}

fn groups_accumulator(
    aggregate: &Arc<AggregateFunctionExpr>,
    one_group: bool,
) -> Result<Box<dyn GroupsAccumulator>> {
    if !one_group && aggregate.groups_accumulator_supported() {
        aggregate.create_groups_accumulator()
    } else {
        let aggregate = Arc::clone(aggregate);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || {
            aggregate.create_accumulator()
        })))
    }
}
