//! Windows as keys of a group.

use datafusion::logical_expr::Expr;

pub use headwater_sql::{Gap, WindowExpr, session_window, window, window_time};

/// Gives a call of `window` or `session_window` without an alias the name by which its `start` and `end` are reached.
pub(crate) fn named_window(expr: Expr) -> Expr {
    let name = match &expr {
        Expr::ScalarFunction(call) => call.func.name().to_owned(),
        _ => return expr,
    };
    if matches!(name.as_str(), "window" | "session_window") {
        expr.alias(name)
    } else {
        expr
    }
}
