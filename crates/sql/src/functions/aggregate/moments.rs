//! `skewness` and `kurtosis`: the third and fourth moment of the values about their mean.
//!
//! The state is the count, the mean and the sums of the second to fourth powers of the distances from the mean, merged
//! by Pébay's formulas. Without rows, or where all values are equal, the result is NULL.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::one_group::OneGroup;
use super::slots;

static SKEWNESS: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Moment::udaf(Kind::Skewness));
static KURTOSIS: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Moment::udaf(Kind::Kurtosis));

pub(super) fn skewness_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&SKEWNESS)
}

pub(super) fn kurtosis_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&KURTOSIS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Skewness,
    Kurtosis,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Moment {
    kind: Kind,
    signature: Signature,
}

impl Moment {
    fn udaf(kind: Kind) -> Arc<AggregateUDF> {
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
        Arc::new(AggregateUDF::from(Self { kind, signature }))
    }
}

impl AggregateUDFImpl for Moment {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Skewness => "skewness",
            Kind::Kurtosis => "kurtosis",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(Groups {
            kind: self.kind,
            groups: vec![],
        })))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part| {
            Arc::new(Field::new(
                format!("{}[{part}]", args.name),
                DataType::Float64,
                true,
            ))
        };
        Ok(["n", "mean", "m2", "m3", "m4"].map(field).into())
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups {
            kind: self.kind,
            groups: vec![],
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Count, mean, and sums of powers of the distances from the mean.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    m2: f64,
    m3: f64,
    m4: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self {
            n: 1.0,
            mean: value,
            ..Self::default()
        }
    }

    fn merge(self, other: Self) -> Self {
        if self.n == 0.0 {
            return other;
        }
        if other.n == 0.0 {
            return self;
        }
        let (a, b) = (self, other);
        let n = a.n + b.n;
        let delta = b.mean - a.mean;
        let per_n = delta / n;
        let m2 = a.m2 + b.m2 + delta * per_n * a.n * b.n;
        let m3 = a.m3
            + b.m3
            + per_n * per_n * delta * a.n * b.n * (a.n - b.n)
            + 3.0 * per_n * (a.n * b.m2 - b.n * a.m2);
        let m4 = a.m4
            + b.m4
            + per_n * per_n * per_n * delta * a.n * b.n * (a.n * a.n - a.n * b.n + b.n * b.n)
            + 6.0 * per_n * per_n * (a.n * a.n * b.m2 + b.n * b.n * a.m2)
            + 4.0 * per_n * (a.n * b.m3 - b.n * a.m3);
        Self {
            n,
            mean: a.mean + per_n * b.n,
            m2,
            m3,
            m4,
        }
    }

    fn result(self, kind: Kind) -> Option<f64> {
        if self.n == 0.0 || self.m2 == 0.0 {
            return None;
        }
        Some(match kind {
            Kind::Skewness => self.n.sqrt() * self.m3 / (self.m2 * self.m2 * self.m2).sqrt(),
            Kind::Kurtosis => self.n * self.m4 / (self.m2 * self.m2) - 3.0,
        })
    }
}

#[derive(Debug)]
struct Groups {
    kind: Kind,
    groups: Vec<Moments>,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize(total, Moments::default());
        for (row, (group, value)) in groups
            .iter()
            .zip(values[0].as_primitive::<Float64Type>())
            .enumerate()
        {
            let wanted = filter.is_none_or(|f| f.is_valid(row) && f.value(row));
            if let (Some(value), true) = (value, wanted) {
                self.groups[*group] = self.groups[*group].merge(Moments::of(value));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let groups = slots::take(&mut self.groups, emit);
        let results: Float64Array = groups.into_iter().map(|m| m.result(self.kind)).collect();
        Ok(Arc::new(results))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = slots::take(&mut self.groups, emit);
        let column = |part: fn(&Moments) -> f64| -> ArrayRef {
            Arc::new(
                groups
                    .iter()
                    .map(part)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .map(Some)
                    .collect::<Float64Array>(),
            )
        };
        Ok(vec![
            column(|m| m.n),
            column(|m| m.mean),
            column(|m| m.m2),
            column(|m| m.m3),
            column(|m| m.m4),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize(total, Moments::default());
        let columns: Vec<&Float64Array> = states
            .iter()
            .map(|s| s.as_primitive::<Float64Type>())
            .collect();
        for (row, group) in groups.iter().enumerate() {
            let part = |i: usize| columns[i].value(row);
            let other = Moments {
                n: part(0),
                mean: part(1),
                m2: part(2),
                m3: part(3),
                m4: part(4),
            };
            self.groups[*group] = self.groups[*group].merge(other);
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |v| v.len());
        let mut one_each = Self {
            kind: self.kind,
            groups: vec![],
        };
        if rows > 0 {
            one_each.update_batch(values, &(0..rows).collect::<Vec<_>>(), filter, rows)?;
        }
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Moments>()
    }
}
