//! `first`, `last` and `any_value`: the value of the first or last row to arrive, with IGNORE NULLS the first or last
//! that is not null.
//!
//! The state is the value and whether there is one; merging takes states in the order of arrival.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::one_group::OneGroup;
use super::slots;

static FIRST: LazyLock<Arc<AggregateUDF>> =
    LazyLock::new(|| FirstLast::udaf(Which::First, &["any_value"]));
static LAST: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| FirstLast::udaf(Which::Last, &[]));

pub(super) fn first_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&FIRST)
}

pub(super) fn last_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&LAST)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    First,
    Last,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FirstLast {
    which: Which,
    aliases: Vec<String>,
    signature: Signature,
}

impl FirstLast {
    fn udaf(which: Which, aliases: &[&str]) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self {
            which,
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            signature: Signature::any(1, Volatility::Immutable),
        }))
    }

    fn groups(&self, args: &AccumulatorArgs<'_>) -> Groups {
        Groups {
            which: self.which,
            ignore_nulls: args.ignore_nulls,
            data_type: args.return_field.data_type().clone(),
            values: vec![],
        }
    }
}

impl AggregateUDFImpl for FirstLast {
    fn name(&self) -> &str {
        match self.which {
            Which::First => "first",
            Which::Last => "last",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.groups(&args))))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(
                format!("{}[value]", args.name),
                args.return_field.data_type().clone(),
                true,
            )),
            Arc::new(Field::new(
                format!("{}[is_set]", args.name),
                DataType::Boolean,
                true,
            )),
        ])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)))
    }
}

#[derive(Debug)]
struct Groups {
    which: Which,
    ignore_nulls: bool,
    data_type: DataType,
    /// `None` while no row counted.
    values: Vec<Option<ScalarValue>>,
}

impl Groups {
    fn fold(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        total: usize,
        counts: impl Fn(usize) -> bool,
    ) -> Result<()> {
        self.values.resize(total, None);
        match self.which {
            Which::First => {
                for (row, group) in groups.iter().enumerate() {
                    if self.values[*group].is_none() && counts(row) {
                        self.values[*group] =
                            Some(ScalarValue::try_from_array(values, row)?.compacted());
                    }
                }
            }
            Which::Last => {
                // From the back, so that only the last row of a group is turned into a value.
                let mut done = vec![false; total];
                for (row, group) in groups.iter().enumerate().rev() {
                    if !done[*group] && counts(row) {
                        done[*group] = true;
                        self.values[*group] =
                            Some(ScalarValue::try_from_array(values, row)?.compacted());
                    }
                }
            }
        }
        Ok(())
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        let ignore_nulls = self.ignore_nulls;
        let nulls = values[0].logical_nulls();
        self.fold(&values[0], groups, total, |row| {
            filter.is_none_or(|f| f.is_valid(row) && f.value(row))
                && !(ignore_nulls && nulls.as_ref().is_some_and(|n| n.is_null(row)))
        })
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let values = slots::take(&mut self.values, emit);
        slots::array(values.iter().map(Option::as_ref), &self.data_type)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let values = slots::take(&mut self.values, emit);
        let set: BooleanArray = values.iter().map(|v| Some(v.is_some())).collect();
        Ok(vec![
            slots::array(values.iter().map(Option::as_ref), &self.data_type)?,
            Arc::new(set),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let set = states[1].as_boolean();
        self.fold(&states[0], groups, total, |row| {
            set.is_valid(row) && set.value(row)
        })
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut one_each = Self {
            which: self.which,
            ignore_nulls: self.ignore_nulls,
            data_type: self.data_type.clone(),
            values: vec![],
        };
        if rows > 0 {
            one_each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        }
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.values
            .iter()
            .flatten()
            .map(ScalarValue::size)
            .sum::<usize>()
            + self.values.capacity() * size_of::<Option<ScalarValue>>()
    }
}
