//! Joins as Spark reads them: an outer join, a semi join or an anti join without a condition has one that always holds.

use datafusion::sql::sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, Select, TableFactor, TableWithJoins, Value,
};

/// Gives every join without a condition the one that it means.
pub(crate) fn conditions(select: &mut Select) {
    select.from.iter_mut().for_each(each_join);
}

fn each_join(from: &mut TableWithJoins) {
    in_parentheses(&mut from.relation);
    for join in &mut from.joins {
        in_parentheses(&mut join.relation);
        if let JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint) = &mut join.join_operator
            && *constraint == JoinConstraint::None
        {
            *constraint = JoinConstraint::On(Expr::value(Value::Boolean(true)));
        }
    }
}

fn in_parentheses(relation: &mut TableFactor) {
    if let TableFactor::NestedJoin {
        table_with_joins, ..
    } = relation
    {
        each_join(table_with_joins);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::SetExpr, dialect::GenericDialect, parser::Parser};

    use super::*;

    #[test]
    fn a_join_without_a_condition_always_holds() {
        for (text, expected) in [
            ("FROM l LEFT JOIN r", "FROM l LEFT JOIN r ON true"),
            (
                "FROM l JOIN (a FULL JOIN b) ON true",
                "FROM l JOIN (a FULL JOIN b ON true) ON true",
            ),
            ("FROM l CROSS JOIN r", "FROM l CROSS JOIN r"),
            ("FROM l LEFT JOIN r USING(k)", "FROM l LEFT JOIN r USING(k)"),
        ] {
            let text = format!("SELECT 1 {text}");
            let mut parser = Parser::new(&GenericDialect {}).try_with_sql(&text).unwrap();
            let mut query = parser.parse_query().unwrap();
            if let SetExpr::Select(select) = query.body.as_mut() {
                conditions(select);
            }
            assert_eq!(query.to_string(), format!("SELECT 1 {expected}"));
        }
    }
}
