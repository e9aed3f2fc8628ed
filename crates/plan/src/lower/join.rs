//! Joins of two streams: the inputs laid out as the operator wants them.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::{
        DFSchema, JoinSide, JoinType, NullEquality,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    logical_expr::{
        Expr, LogicalPlan,
        utils::{conjunction, split_conjunction},
    },
    physical_expr::{PhysicalExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        joins::utils::{ColumnIndex, JoinFilter},
        projection::ProjectionExec,
    },
};
use headwater_ops::{
    expiry::Expiry,
    join::{JoinInput, Near, StreamJoin, StreamJoinExec},
};
use headwater_sql::checked_expression;
use headwater_state::NullKeys;

use crate::{
    join::{SideTimes, Spot},
    nodes::stream_join::StreamJoinNode,
};

/// Makes an expression over rows of a schema executable.
pub(super) type PlanExpr<'a> =
    &'a (dyn Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>> + Sync);

/// The state of a side is divided into about so many time buckets for each span in which rows can match.
const BUCKETS: i64 = 32;

/// Time buckets are never narrower, in milliseconds.
const NARROWEST_BUCKET: i64 = 1_000;

const SIDES: [JoinSide; 2] = [JoinSide::Left, JoinSide::Right];

/// Plans the join over its planned inputs.
pub(super) fn stream_join(
    node: &StreamJoinNode,
    inputs: [(&LogicalPlan, &Arc<dyn ExecutionPlan>); 2],
    plan: PlanExpr,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schemas = inputs.map(|(logical, _)| logical.schema().as_ref());
    let condition = Condition::of(node, schemas);
    let pairs = condition.of_pairs(schemas, plan)?;
    let stored = stored_columns(node, schemas, pairs.as_ref());
    let sides = [0, 1].map(|side| {
        let keys = node.keys.iter().map(|(left, right)| [left, right][side]);
        let (logical, input) = inputs[side];
        Side::lay_out(logical.schema(), input, keys, &stored[side], plan)
    });
    let [left, right] = sides;
    let sides = [left?, right?];
    let joins = [0, 1].map(|side| {
        let own = &condition.own[side];
        sides[side].input(&node.times[side], &sides[1 - side], own.as_ref(), plan)
    });
    let [left, right] = joins;
    let definition = StreamJoin {
        operator: node.id.clone(),
        join_type: node.join_type,
        keys: node.keys.len(),
        null_keys: match node.null_equality {
            NullEquality::NullEqualsNull => NullKeys::Match,
            NullEquality::NullEqualsNothing => NullKeys::Never,
        },
        inputs: [left?, right?],
        filter: pairs.map(|pairs| relocated(&pairs, &sides)),
        output: output(node.join_type, &sides),
        schema: Arc::clone(node_schema(node)),
        // Watermarks are whole milliseconds.
        lag_millis: node.lag_micros.saturating_add(999).div_euclid(1_000),
    };
    let [left, right] = sides.each_ref().map(|side| Arc::clone(&side.plan));
    Ok(Arc::new(StreamJoinExec::try_new(left, right, definition)?))
}

fn node_schema(node: &StreamJoinNode) -> &SchemaRef {
    use datafusion::logical_expr::UserDefinedLogicalNodeCore;
    node.schema().inner()
}

/// The condition besides the keys: of each side alone, and of both together.
struct Condition {
    own: [Option<Expr>; 2],
    both: Option<Expr>,
}

impl Condition {
    fn of(node: &StreamJoinNode, schemas: [&DFSchema; 2]) -> Self {
        let mut parts: [Vec<Expr>; 3] = Default::default();
        for conjunct in node.filter.iter().flat_map(split_conjunction) {
            let columns = conjunct.column_refs();
            let is_of = |side: usize| {
                let side: &DFSchema = schemas[side];
                !columns.is_empty() && columns.iter().all(|column| side.has_column(column))
            };
            let part = (0..2).find(|side| is_of(*side)).unwrap_or(2);
            parts[part].push(conjunct.clone());
        }
        let [left, right, both] = parts.map(conjunction);
        Self {
            own: [left, right],
            both,
        }
    }

    /// The condition of pairs; its columns are those of the sides' schemas.
    fn of_pairs(&self, schemas: [&DFSchema; 2], plan: PlanExpr) -> Result<Option<JoinFilter>> {
        let Some(both) = &self.both else {
            return Ok(None);
        };
        let joined = schemas[0].join(schemas[1])?;
        let expr = checked_expression(plan(both, &joined)?, joined.as_arrow())?;
        let mut used: Vec<usize> = columns_of(&expr);
        used.sort_unstable();
        let left_columns = schemas[0].fields().len();
        let indices = used
            .iter()
            .map(|index| match index.checked_sub(left_columns) {
                None => ColumnIndex {
                    index: *index,
                    side: JoinSide::Left,
                },
                Some(index) => ColumnIndex {
                    index,
                    side: JoinSide::Right,
                },
            });
        let schema = Arc::new(joined.as_arrow().project(&used)?);
        let expr = moved(expr, |index| used.iter().position(|used| *used == index))?;
        Ok(Some(JoinFilter::new(expr, indices.collect(), schema)))
    }
}

/// The numbers of the columns that an expression uses.
fn columns_of(expr: &Arc<dyn PhysicalExpr>) -> Vec<usize> {
    let columns = datafusion::physical_expr::utils::collect_columns(expr);
    let indices: HashSet<usize> = columns.iter().map(Column::index).collect();
    indices.into_iter().collect()
}

/// The expression with its columns at other places.
fn moved(
    expr: Arc<dyn PhysicalExpr>,
    place: impl Fn(usize) -> Option<usize>,
) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else {
            return Ok(Transformed::no(expr));
        };
        Ok(match place(column.index()) {
            Some(place) => Transformed::yes(Arc::new(Column::new(column.name(), place))),
            None => Transformed::no(expr),
        })
    })
    .map(|expr| expr.data)
}

/// Which columns of each side are stored besides the keys: those that come out, and those that the condition asks for.
fn stored_columns(
    node: &StreamJoinNode,
    schemas: [&DFSchema; 2],
    pairs: Option<&JoinFilter>,
) -> [Vec<usize>; 2] {
    let all = |side: usize| (0..schemas[side].fields().len()).collect();
    if node.join_type != JoinType::LeftSemi {
        return [all(0), all(1)];
    }
    let asked = pairs.iter().flat_map(|pairs| pairs.column_indices());
    let asked = asked.filter(|column| column.side == JoinSide::Right);
    [all(0), asked.map(|column| column.index).collect()]
}

/// One input of the join, with its columns in the order that the operator wants: keys, stored ones, others.
struct Side<'a> {
    schema: &'a DFSchema,
    plan: Arc<dyn ExecutionPlan>,
    /// For each column of the schema its place.
    places: Vec<usize>,
    stored: usize,
}

impl<'a> Side<'a> {
    fn lay_out(
        schema: &'a DFSchema,
        input: &Arc<dyn ExecutionPlan>,
        keys: impl Iterator<Item = &'a Expr>,
        stored: &[usize],
        plan: PlanExpr,
    ) -> Result<Self> {
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        let mut places: Vec<Option<usize>> = vec![None; schema.fields().len()];
        for key in keys {
            let expr = plan(key, schema)?;
            let mut name = format!("key {}", columns.len() + 1);
            if let Some(column) = expr.downcast_ref::<Column>() {
                places[column.index()].get_or_insert(columns.len());
                name = stored_name(schema, column.index());
            }
            let name = unique(name, &columns);
            columns.push((expr, name));
        }
        let others = (0..places.len()).filter(|index| !stored.contains(index));
        let mut number_stored = columns.len();
        for index in stored.iter().copied().chain(others) {
            if places[index].is_some() {
                continue;
            }
            places[index] = Some(columns.len());
            let column = Column::new(schema.field(index).name(), index);
            let name = unique(stored_name(schema, index), &columns);
            columns.push((Arc::new(column), name));
            number_stored += usize::from(stored.contains(&index));
        }
        Ok(Self {
            schema,
            plan: Arc::new(ProjectionExec::try_new(columns, Arc::clone(input))?),
            places: places.into_iter().flatten().collect(),
            stored: number_stored,
        })
    }

    fn place(&self, column: &datafusion::prelude::Column) -> Result<usize> {
        Ok(self.places[self.schema.index_of_column(column)?])
    }

    fn expiry(&self, spot: Option<&Spot>) -> Result<Option<Expiry>> {
        let Some(spot) = spot else {
            return Ok(None);
        };
        Ok(Some(Expiry {
            column: self.place(&spot.column)?,
            extra_micros: spot.extra_micros,
        }))
    }

    /// What the operator does with this side.
    fn input(
        &self,
        times: &SideTimes,
        other: &Self,
        own: Option<&Expr>,
        plan: PlanExpr,
    ) -> Result<JoinInput> {
        let near = times.near.as_ref().map(|near| {
            Ok::<_, datafusion::error::DataFusionError>(Near {
                other: other.place(&near.other)?,
                from_micros: near.from_micros,
                to_micros: near.to_micros,
            })
        });
        let near = near.transpose()?;
        let span_micros = near.and_then(|near| Some(near.to_micros? - near.from_micros));
        let span_millis = span_micros.unwrap_or(0) / 1_000;
        let own = own.map(|own| {
            let expr = checked_expression(plan(own, self.schema)?, self.schema.as_arrow())?;
            moved(expr, |index| self.places.get(index).copied())
        });
        Ok(JoinInput {
            stored: self.stored,
            expiry: self.expiry(times.expires.as_ref())?,
            near,
            own: own.transpose()?,
            bucket_millis: (span_millis / BUCKETS).max(NARROWEST_BUCKET),
        })
    }
}

/// What a stored column is called: with its table's name where columns of several tables are called the same, so that it
/// is known after a restart wherever it stands then.
fn stored_name(schema: &DFSchema, index: usize) -> String {
    let (qualifier, field) = schema.qualified_field(index);
    let namesakes = schema.fields_with_unqualified_name(field.name()).len();
    match qualifier.filter(|_| namesakes > 1) {
        Some(qualifier) => format!("{qualifier}.{}", field.name()),
        None => field.name().clone(),
    }
}

/// A name that no other column has: a state has its columns by name.
fn unique(name: String, columns: &[(Arc<dyn PhysicalExpr>, String)]) -> String {
    let is_taken = |name: &str| columns.iter().any(|(_, taken)| taken == name);
    let mut free = name.clone();
    let mut number = 1;
    while is_taken(&free) {
        number += 1;
        free = format!("{name} {number}");
    }
    free
}

/// The condition of pairs with its columns where the operator's inputs have them.
fn relocated(pairs: &JoinFilter, sides: &[Side; 2]) -> JoinFilter {
    let indices = pairs.column_indices().iter().map(|column| ColumnIndex {
        index: sides[usize::from(column.side == JoinSide::Right)].places[column.index],
        side: column.side,
    });
    let expression = Arc::clone(pairs.expression());
    JoinFilter::new(expression, indices.collect(), Arc::clone(pairs.schema()))
}

/// Where the columns that come out are stored.
fn output(join_type: JoinType, sides: &[Side; 2]) -> Vec<ColumnIndex> {
    let wanted = match join_type {
        JoinType::LeftSemi => 1,
        _ => 2,
    };
    let columns = sides
        .iter()
        .zip(SIDES)
        .take(wanted)
        .flat_map(|(input, side)| {
            let places = input.places.iter();
            places.map(move |place| ColumnIndex {
                index: *place,
                side,
            })
        });
    columns.collect()
}
