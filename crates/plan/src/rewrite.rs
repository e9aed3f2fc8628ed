//! Turns an analysed plan into one whose streaming parts are nodes of ours, with stable ids.
//!
//! An operator's id is made of its kind, of how many stateful operators stand between it and the sink, and of the
//! branches of unions and joins on the way: adding a filter or a column changes no id.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field},
    common::{
        DataFusionError, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    datasource::provider_as_source,
    logical_expr::{
        Aggregate, Distinct, EmptyRelation, Expr, ExprSchemable, Extension, Join, JoinType, Limit,
        LogicalPlan, Projection, TableScan, expr_rewriter::NamePreserver,
    },
};
use headwater_core::{Delay, OutputMode, SourceProvider};
use headwater_ops::{expiry::Expiry, limit::Counting};
use serde_json::json;

use crate::{
    check::aggregates_stream,
    nodes::{
        limit::StreamLimitNode, stateful_aggregate::StatefulAggregateNode, watermark::WatermarkNode,
    },
    normal_float::normal_float_udf,
    stream_table::{StreamTable, reads_stream, stream_of},
    streaming_plan::{OperatorInfo, WatermarkNodeInfo},
    time_column::{grouping_columns, time_marks},
};

/// Gives every stream of the plan its number; the providers by number. A stream that is read twice is one source.
pub(crate) fn number_sources(
    plan: LogicalPlan,
) -> Result<(LogicalPlan, Vec<Arc<dyn SourceProvider>>)> {
    let mut providers: Vec<Arc<dyn SourceProvider>> = Vec::new();
    let numbered = plan.transform_up(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            return Ok(Transformed::no(node));
        };
        let Some(table) = stream_of(&scan) else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let stream =
            <dyn datafusion::catalog::TableProvider>::downcast_ref::<StreamTable>(table.as_ref())
                .ok_or_else(|| DataFusionError::Internal("a stream is no stream".to_owned()))?;
        let known = providers
            .iter()
            .position(|provider| Arc::ptr_eq(provider, stream.provider()));
        let source_id = known.unwrap_or_else(|| {
            providers.push(Arc::clone(stream.provider()));
            providers.len() - 1
        });
        let source = provider_as_source(Arc::new(stream.numbered(source_id)));
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan {
            source,
            ..scan
        })))
    })?;
    Ok((numbered.data, providers))
}

/// What the rewrite found out.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) operators: Vec<OperatorInfo>,
    pub(crate) watermarks: Vec<WatermarkNodeInfo>,
}

/// Replaces aggregations, DISTINCT and LIMIT over streams by stateful nodes, and names watermarks.
pub(crate) fn make_stateful(plan: LogicalPlan, mode: OutputMode) -> Result<(LogicalPlan, Found)> {
    let mut rewriter = Rewriter {
        mode,
        found: Found::default(),
    };
    let plan = rewriter.rewrite(plan, &Place::default())?;
    Ok((plan, rewriter.found))
}

/// Where a node stands.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Stateful operators between here and the sink.
    depth: usize,
    /// Branches taken, for instance `.1` for the second input of a union.
    branch: String,
}

impl Place {
    fn id(&self, kind: &str) -> String {
        format!("{kind}-{}{}", self.depth, self.branch)
    }

    fn below_stateful(&self) -> Self {
        Self {
            depth: self.depth + 1,
            branch: self.branch.clone(),
        }
    }

    fn branch(&self, number: usize) -> Self {
        Self {
            depth: self.depth,
            branch: format!("{}.{number}", self.branch),
        }
    }
}

struct Rewriter {
    mode: OutputMode,
    found: Found,
}

impl Rewriter {
    fn rewrite(&mut self, plan: LogicalPlan, place: &Place) -> Result<LogicalPlan> {
        if !reads_stream(&plan) {
            return Ok(plan);
        }
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, place),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let columns = input
                    .schema()
                    .columns()
                    .into_iter()
                    .map(Expr::Column)
                    .collect();
                self.aggregate(Aggregate::try_new(input, columns, Vec::new())?, place)
            }
            LogicalPlan::Limit(limit) => self.limit(limit, place),
            LogicalPlan::Join(join) => match below_distinct(join)? {
                Ok(distinct) => self.rewrite(distinct, place),
                Err(join) => self.children(LogicalPlan::Join(join), place),
            },
            LogicalPlan::Extension(extension) => {
                let Some(watermark) = extension.node.as_any().downcast_ref::<WatermarkNode>()
                else {
                    return self.children(LogicalPlan::Extension(extension), place);
                };
                let named = WatermarkNode {
                    id: place.id("watermark"),
                    ..watermark.clone()
                };
                self.found.watermarks.push(WatermarkNodeInfo {
                    id: named.id.clone(),
                    delay: Delay(named.delay.0),
                });
                self.children(
                    LogicalPlan::Extension(Extension {
                        node: Arc::new(named),
                    }),
                    place,
                )
            }
            other => self.children(other, place),
        }
    }

    fn children(&mut self, plan: LogicalPlan, place: &Place) -> Result<LogicalPlan> {
        let several = plan.inputs().len() > 1;
        let mut number = 0;
        let rewritten = plan.map_children(|child| {
            let place = if several {
                place.branch(number)
            } else {
                place.clone()
            };
            number += 1;
            self.rewrite(child, &place).map(Transformed::yes)
        })?;
        rewritten.data.recompute_schema()
    }

    fn aggregate(&mut self, aggregate: Aggregate, place: &Place) -> Result<LogicalPlan> {
        let id = place.id("aggregate");
        let position = self.found.operators.len();
        let before = Arc::clone(&aggregate.schema);
        let input = self.rewrite(
            Arc::unwrap_or_clone(aggregate.input),
            &place.below_stateful(),
        )?;
        let input = normal_float_columns(input, &aggregate.group_expr)?;
        let groups = aggregate
            .group_expr
            .into_iter()
            .map(|group| normal_float(group, &input))
            .collect::<Result<Vec<_>>>()?;
        let aggregate = Aggregate::try_new(Arc::new(input), groups, aggregate.aggr_expr)?;
        let expiry = self.expiry(&aggregate)?;
        let info = OperatorInfo {
            fingerprint: fingerprint(&aggregate, self.mode),
            id: id.clone(),
            kind: "aggregate".to_owned(),
            progress_name: "stateStoreSave".to_owned(),
            wants_no_data_epoch: self.mode != OutputMode::Complete,
        };
        // Nearest the sink first: before what was found below.
        self.found.operators.insert(position, info);
        let output = aggregate.schema.columns();
        let stateful = LogicalPlan::Extension(Extension {
            node: Arc::new(StatefulAggregateNode {
                input: LogicalPlan::Aggregate(aggregate),
                id,
                mode: self.mode,
                expiry,
            }),
        });
        if before.columns() == output {
            return Ok(stateful);
        }
        let columns = before
            .iter()
            .zip(output)
            .map(|((qualifier, field), column)| {
                Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
            })
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            columns,
            Arc::new(stateful),
        )?))
    }

    /// Which key bounds the state: the first one with an event time. None in complete mode, which keeps everything.
    fn expiry(&self, aggregate: &Aggregate) -> Result<Option<Expiry>> {
        if self.mode == OutputMode::Complete {
            return Ok(None);
        }
        let grouping_sets = aggregate
            .group_expr
            .iter()
            .any(|group| matches!(group, Expr::GroupingSet(_)));
        if grouping_sets {
            return Ok(None);
        }
        let keys = aggregate.group_expr.len();
        let marks = time_marks(&LogicalPlan::Aggregate(aggregate.clone()))?;
        Ok(marks
            .iter()
            .take(keys)
            .enumerate()
            .find_map(|(column, mark)| {
                mark.and_then(|mark| mark.extra_micros())
                    .map(|extra_micros| Expiry {
                        column,
                        extra_micros,
                    })
            }))
    }

    fn limit(&mut self, limit: Limit, place: &Place) -> Result<LogicalPlan> {
        let fetch = match limit.fetch.as_deref() {
            None => return self.rewrite(Arc::unwrap_or_clone(limit.input), place),
            Some(Expr::Literal(value, _)) => match value {
                ScalarValue::Int64(Some(rows)) => u64::try_from(*rows).ok(),
                ScalarValue::UInt64(Some(rows)) => Some(*rows),
                ScalarValue::Int32(Some(rows)) => u64::try_from(*rows).ok(),
                value if value.is_null() => {
                    return self.rewrite(Arc::unwrap_or_clone(limit.input), place);
                }
                _ => None,
            },
            Some(_) => None,
        };
        let fetch = fetch.ok_or_else(|| {
            DataFusionError::Plan("LIMIT over a stream must be a number of rows".to_owned())
        })?;
        if fetch == 0 {
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::clone(limit.input.schema()),
            }));
        }
        let counting = if self.mode == OutputMode::Complete && aggregates_stream(&limit.input) {
            Counting::Epoch
        } else {
            Counting::Lifetime(place.id("limit"))
        };
        let below = match &counting {
            Counting::Epoch => place.clone(),
            Counting::Lifetime(id) => {
                self.found.operators.push(OperatorInfo {
                    id: id.clone(),
                    kind: "limit".to_owned(),
                    progress_name: "globalLimit".to_owned(),
                    fingerprint: json!({ "rows": fetch }),
                    wants_no_data_epoch: false,
                });
                place.below_stateful()
            }
        };
        let input = self.rewrite(Arc::unwrap_or_clone(limit.input), &below)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(StreamLimitNode {
                input,
                fetch,
                counting,
            }),
        }))
    }
}

/// `DISTINCT stream EXCEPT table` (and the like with a semi join) as `DISTINCT (stream EXCEPT table)`: the same rows,
/// and the state keeps only those. The join itself if it is of another kind.
fn below_distinct(join: Join) -> Result<Result<LogicalPlan, Join>> {
    if !matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi) {
        return Ok(Err(join));
    }
    let input = match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => Arc::clone(input),
        _ => return Ok(Err(join)),
    };
    let below = LogicalPlan::Join(Join {
        left: input,
        ..join
    })
    .recompute_schema()?;
    Ok(Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(below)))))
}

/// What must not change between two starts: keys and aggregates with their types, by the names the user gave.
fn fingerprint(aggregate: &Aggregate, mode: OutputMode) -> serde_json::Value {
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let described = |fields: &[Arc<Field>]| {
        fields
            .iter()
            .map(|field| format!("{}: {}", field.name(), field.data_type()))
            .collect::<Vec<_>>()
    };
    let fields: Vec<Arc<Field>> = aggregate.schema.fields().iter().cloned().collect();
    json!({
        "keys": described(&fields[..keys]),
        "aggregates": described(&fields[keys..]),
        "mode": mode,
    })
}

/// Whether values of this type can be NaN or -0.0 somewhere inside.
fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_floats(field.data_type())
        }
        _ => false,
    }
}

/// Makes all NaN one key and -0.0 the same as 0.0 in columns that are grouped by as they are.
fn normal_float_columns(input: LogicalPlan, groups: &[Expr]) -> Result<LogicalPlan> {
    let keys: Vec<&datafusion::prelude::Column> = groups
        .iter()
        .flat_map(grouping_columns)
        .filter_map(|group| match group {
            Expr::Column(column) => Some(column),
            _ => None,
        })
        .collect();
    let mut changed = false;
    let columns = input
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = datafusion::prelude::Column::new(qualifier.cloned(), field.name());
            if has_floats(field.data_type()) && keys.contains(&&column) {
                changed = true;
                normal_float_udf()
                    .call(vec![Expr::Column(column)])
                    .alias_qualified(qualifier.cloned(), field.name())
            } else {
                Expr::Column(column)
            }
        })
        .collect();
    if !changed {
        return Ok(input);
    }
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(input),
    )?))
}

/// The same for expressions that are grouped by.
fn normal_float(group: Expr, input: &LogicalPlan) -> Result<Expr> {
    if matches!(group, Expr::Column(_) | Expr::GroupingSet(_))
        || !has_floats(&group.get_type(input.schema())?)
    {
        return Ok(group);
    }
    let name = NamePreserver::new_for_projection().save(&group);
    let normal = normal_float_udf().call(vec![group.unalias()]);
    Ok(name.restore(normal))
}
