//! The columns that `CREATE STREAM` writes down: as Arrow fields, and with their event time marked.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field, Fields, Schema},
    common::{DFSchema, Result},
    execution::SessionState,
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ident},
    sql::sqlparser::ast::{CastKind, DataType as SqlType, Expr as SqlExpr, ExprWithAlias, Value},
};

use crate::{
    front_end::SqlFrontEnd,
    message::error_at,
    relation::{all_columns, check_event_time},
    rewrite::{self, Flavour},
    spelling::Spelling,
    statement::{Name, StreamColumn, StreamWatermark},
    types::arrow_type,
};

impl SqlFrontEnd {
    /// A name as the session knows it: in lower case unless it was quoted or the session keeps the case of names.
    pub fn normal_name(&self, name: &Name) -> String {
        match self.flavour {
            Flavour::DataFusion if !name.is_quoted => name.value.to_lowercase(),
            _ => name.value.clone(),
        }
    }

    /// Whether names that differ in case only are the same.
    pub fn ignores_case(&self) -> bool {
        self.flavour == Flavour::Spark
    }

    /// The columns of a stream. Types that Spark names are Spark's, whatever functions the session has: a `TIMESTAMP`
    /// is an instant in microseconds. Others are DataFusion's.
    ///
    /// # Errors
    /// When a type is not known, or a column comes twice.
    pub fn stream_schema(&self, state: &SessionState, columns: &[StreamColumn]) -> Result<Schema> {
        let mut fields: Vec<Field> = Vec::with_capacity(columns.len());
        for column in columns {
            let name = self.normal_name(&column.name);
            let is_same = |field: &Field| match self.ignores_case() {
                true => field.name().eq_ignore_ascii_case(&name),
                false => *field.name() == name,
            };
            if fields.iter().any(is_same) {
                return Err(error_at(
                    column.name.span,
                    format!("the column '{name}' is defined twice: remove one of them"),
                ));
            }
            let data_type = column_type(state, &column.data_type).map_err(|_| {
                error_at(
                    column.name.span,
                    format!(
                        "the type {} of column '{name}' is not known: write a type such as STRING, INT, BIGINT, DOUBLE, \
                         BOOLEAN, TIMESTAMP, DATE, DECIMAL(10, 2), ARRAY<INT> or STRUCT<a: INT>",
                        column.data_type
                    ),
                )
            })?;
            fields.push(Field::new(name, data_type, !column.not_null));
        }
        Ok(Schema::new(fields))
    }

    /// Marks the event time of `input`.
    ///
    /// # Errors
    /// When the event time is no column, or no timestamp.
    pub fn mark_event_time(
        &self,
        state: &SessionState,
        input: LogicalPlan,
        watermark: &StreamWatermark,
    ) -> Result<LogicalPlan> {
        let mut event_time = watermark.event_time.clone();
        if self.flavour == Flavour::Spark {
            let mut spelling = Spelling::default();
            spelling.declare_fields(input.schema().as_arrow().fields());
            spelling.correct(&mut event_time);
        }
        rewrite::expression(&mut event_time, self.flavour)?;
        let event_time = planned(state, event_time, input.schema())?;
        check_event_time(&event_time, input.schema())?;
        let delay = watermark.delay;
        let Some(name) = &watermark.name else {
            return self.hooks.watermark(input, event_time, delay);
        };
        let name = self.normal_name(name);
        let mut columns = all_columns(input.schema());
        columns.push(event_time.alias(name.clone()));
        let input = LogicalPlanBuilder::from(input).project(columns)?.build()?;
        self.hooks.watermark(input, ident(name), delay)
    }
}

fn planned(state: &SessionState, expr: SqlExpr, schema: &DFSchema) -> Result<Expr> {
    let expr = ExprWithAlias { expr, alias: None };
    state.create_logical_expr_from_sql_expr(expr, schema)
}

fn column_type(state: &SessionState, written: &SqlType) -> Result<DataType> {
    if let Ok(Some(found)) = arrow_type(written) {
        return Ok(found);
    }
    // DataFusion plans types only as part of an expression.
    let null = SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(SqlExpr::Value(Value::Null.into())),
        data_type: written.clone(),
        array: false,
        format: None,
    };
    let schema = DFSchema::empty();
    let found = planned(state, null, &schema)?.get_type(&schema)?;
    Ok(plain(found))
}

/// Views of texts are how DataFusion works, not what a source reads.
fn plain(data_type: DataType) -> DataType {
    let plain_field = |field: &Arc<Field>| {
        let data_type = plain(field.data_type().clone());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(&item)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(plain_field).collect::<Fields>())
        }
        other => other,
    }
}

/// A type as SQL writes it: `BIGINT`, `ARRAY<STRING>`.
pub fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("ARRAY<{}>", shown_type(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), shown_type(field.data_type())))
                .collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!(
                "MAP<{}, {}>",
                shown_type(fields[0].data_type()),
                shown_type(fields[1].data_type())
            ),
            other => format!("MAP<{other}>"),
        },
        other => other.to_string(),
    }
}
