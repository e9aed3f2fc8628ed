//! A grouped accumulator used for a single group, so that each aggregate is written once.

use std::any::Any;
use std::fmt::Debug;

use datafusion::arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// An [`Accumulator`] over group 0 of `G`. Reading it does not change it.
#[derive(Debug)]
pub(super) struct OneGroup<G>(G);

impl<G: GroupsAccumulator> OneGroup<G> {
    pub(super) fn new(groups: G) -> Self {
        Self(groups)
    }

    /// The state, which is put back.
    fn peek(&mut self) -> Result<Vec<ArrayRef>> {
        // No row may have come yet: an update without rows makes the group.
        self.0.merge_batch(&self.empty_state()?, &[], 1)?;
        let state = self.0.state(EmitTo::All)?;
        self.0.merge_batch(&state, &[0], 1)?;
        Ok(state)
    }

    fn empty_state(&self) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&[], None)
    }
}

impl<G: GroupsAccumulator + Debug + Sync + Any> Accumulator for OneGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |v| v.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.peek()?;
        let value = ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)?;
        self.0.merge_batch(&state, &[0], 1)?;
        Ok(value)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.peek()?
            .iter()
            .map(|array| ScalarValue::try_from_array(array, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |s| s.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }
}
