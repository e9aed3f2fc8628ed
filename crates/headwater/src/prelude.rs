//! What a program over streams usually needs: `use headwater::prelude::*;`.

pub use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    common::JoinType,
    functions_aggregate::expr_fn::{
        approx_distinct, array_agg, avg, bool_and, bool_or, count, count_distinct, max, median,
        min, stddev, sum,
    },
    logical_expr::{Expr, when},
    prelude::{col, ident, lit},
};
pub use headwater_payload::{
    from_avro, from_avro_registry, from_avro_with, from_csv, from_csv_with, from_json,
    from_json_with, to_avro, to_avro_with, to_csv, to_csv_with, to_json, to_json_with,
};
pub use headwater_sql::{WindowExpr, as_of, as_of_within, session_window, window, window_time};

pub use crate::{
    DataFrame, Error, ErrorKind, IntoExpr, LateRows, OutputMode, Pipeline, Result, Session,
    StartOptions, StatefulOptions, StreamingQuery, StreamingQueryListener, Trigger,
    processor::TimeMode,
};
