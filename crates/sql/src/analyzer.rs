//! Spark's meaning of CAST and of floats, put into a plan once its types are known.
//!
//! Runs behind DataFusion's type coercion. Casts that Spark makes in another way become calls
//! (`crate::functions::cast`). Where floats are compared, grouped or joined, they are normalised first, because Spark
//! holds all NaN equal and 0.0 equal to -0.0 while Arrow orders floats by their bits.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{grouping_set_to_exprlist, merge_schema};
use datafusion::logical_expr::{
    BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::arithmetic::{NORMALIZE, normalized};
use crate::functions::cast::{cast_array, differs, spark_cast};
use crate::functions::zone::Zone;

/// The rule; see the module.
#[derive(Debug, Default)]
pub struct SparkSemantics;

impl AnalyzerRule for SparkSemantics {
    fn name(&self) -> &str {
        "spark_semantics"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let zone = Zone::of(config)?;
        plan.transform_up_with_subqueries(|node| rewrite_node(node, zone).map(Transformed::yes))
            .map(|t| t.data)
    }
}

fn rewrite_node(node: LogicalPlan, zone: Zone) -> Result<LogicalPlan> {
    // A scan's filters have the schema of the table, which `merge_schema` of no inputs does not hold.
    let mut schema = match &node {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
        }
        _ => merge_schema(&node.inputs()),
    };
    if let LogicalPlan::Join(join) = &node {
        schema = join.left.schema().as_ref().clone();
        schema.merge(join.right.schema());
    }
    let names = NamePreserver::new(&node);
    let rewritten = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|e| rewrite_expr(e, &schema, zone))?;
        Ok(if rewritten.transformed {
            rewritten.update_data(|e| name.restore(e))
        } else {
            rewritten
        })
    })?;
    let node = if rewritten.transformed {
        rewritten.data.recompute_schema()?
    } else {
        rewritten.data
    };
    match node {
        LogicalPlan::Aggregate(_) => normalize_group_keys(node),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = normalize_columns(Arc::unwrap_or_clone(input), |_| true)?;
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
        }
        LogicalPlan::Join(join) => normalize_join_keys(join),
        other => Ok(other),
    }
}

fn rewrite_expr(expr: Expr, schema: &DFSchema, zone: Zone) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(cast) if is_cast_here(&cast.expr, cast.field.data_type(), schema) => {
            spark_cast_or_value(*cast.expr, cast.field.data_type(), false, zone)
                .map(Transformed::yes)
        }
        Expr::TryCast(cast) if is_cast_here(&cast.expr, cast.field.data_type(), schema) => {
            spark_cast_or_value(*cast.expr, cast.field.data_type(), true, zone)
                .map(Transformed::yes)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_comparison(op) && is_float(&left, schema) =>
        {
            let (left, right) = (Box::new(normal(*left)), Box::new(normal(*right)));
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                left,
                op,
                right,
            })))
        }
        Expr::InList(mut list) if is_float(&list.expr, schema) => {
            *list.expr = normal(*list.expr);
            list.list = list.list.into_iter().map(normal).collect();
            Ok(Transformed::yes(Expr::InList(list)))
        }
        Expr::Between(mut between) if is_float(&between.expr, schema) => {
            *between.expr = normal(*between.expr);
            *between.low = normal(*between.low);
            *between.high = normal(*between.high);
            Ok(Transformed::yes(Expr::Between(between)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What has no type here (it may refer to another query) is left alone.
fn is_cast_here(expr: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|from| differs(&from, to))
}

/// The cast of a constant is done at once, so that the checks of streaming plans see the value; one that fails stays,
/// to fail when it runs.
fn spark_cast_or_value(expr: Expr, to: &DataType, attempt: bool, zone: Zone) -> Result<Expr> {
    if let Expr::Literal(value, metadata) = &expr
        && let Ok(result) = value
            .to_array()
            .and_then(|array| cast_array(&array, to, attempt, zone))
    {
        return Ok(Expr::Literal(
            ScalarValue::try_from_array(&result, 0)?,
            metadata.clone(),
        ));
    }
    spark_cast(expr, to, attempt)
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema)
        .is_ok_and(|data_type| data_type.is_floating())
}

/// The float with one NaN and one zero. Ordinary literals are so already.
fn normal(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(ScalarValue::Float64(value), _) => {
            let value = value.map(|v| if v.is_nan() { f64::NAN } else { v + 0.0 });
            Expr::Literal(ScalarValue::Float64(value), None)
        }
        Expr::Literal(ScalarValue::Float32(value), _) => {
            let value = value.map(|v| if v.is_nan() { f32::NAN } else { v + 0.0 });
            Expr::Literal(ScalarValue::Float32(value), None)
        }
        Expr::ScalarFunction(call) if call.func.name() == NORMALIZE => expr,
        _ => normalized(expr),
    }
}

/// Normalises the float columns of `plan` that `wanted` names, in a projection that keeps names and order.
fn normalize_columns(plan: LogicalPlan, wanted: impl Fn(&Expr) -> bool) -> Result<LogicalPlan> {
    let mut any = false;
    let columns: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(relation, field)| {
            let column = Expr::Column((relation, field).into());
            if !is_plain_float(field.data_type()) || !wanted(&column) {
                return column;
            }
            any = true;
            normal(column).alias_qualified(relation.cloned(), field.name())
        })
        .collect();
    if !any {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn is_plain_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Plain float columns among the keys are normalised below the aggregate, so that GROUPING SETS keep their columns;
/// computed keys in place.
fn normalize_group_keys(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(mut aggregate) = node else {
        return Ok(node);
    };
    let keys: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?
        .into_iter()
        .cloned()
        .collect();
    let input_schema = Arc::clone(aggregate.input.schema());
    let mut floats = vec![];
    for key in &keys {
        if is_float(key, &input_schema) {
            floats.push(key.clone());
        }
    }
    if floats.is_empty() {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let input = Arc::unwrap_or_clone(Arc::clone(&aggregate.input));
    aggregate.input = Arc::new(normalize_columns(input, |column| floats.contains(column))?);
    for key in &mut aggregate.group_expr {
        if !matches!(key, Expr::Column(_) | Expr::GroupingSet(_)) && floats.contains(key) {
            let (relation, name) = key.qualified_name();
            *key = normal(key.clone().unalias()).alias_qualified(relation, name);
        }
    }
    LogicalPlan::Aggregate(aggregate).recompute_schema()
}

fn normalize_join_keys(mut join: Join) -> Result<LogicalPlan> {
    for (left, right) in &mut join.on {
        if is_float(left, join.left.schema()) {
            *left = normal(left.clone());
            *right = normal(right.clone());
        }
    }
    Ok(LogicalPlan::Join(join))
}
