//! `SELECT *` over `JOIN … USING (k)`: the columns joined by come first, as in Spark, and once.
//!
//! DataFusion gives them once too, but where the left side has them. Left alone are joins of more than two relations or
//! of relations without a name, joins that keep rows of the right side, whose column would be made of both, and NATURAL
//! joins, whose columns are not known before planning.

use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, WildcardAdditionalOptions,
};

/// Writes `*` as `l.k, l.* EXCEPT (k), r.* EXCEPT (k)`.
pub(crate) fn columns_first(select: &mut Select) {
    let Some(join) = UsingJoin::of(select) else {
        return;
    };
    let position = select.projection.iter().position(is_plain_wildcard);
    let (Some(position), [first, rest @ ..], [left, ..]) =
        (position, join.columns.as_slice(), join.relations.as_slice())
    else {
        return;
    };
    let columns = join.columns.iter().map(|column| {
        let parts = vec![left.clone(), column.clone()];
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
    });
    let others = join.relations.iter().map(|relation| {
        let relation = ObjectName(vec![ObjectNamePart::Identifier(relation.clone())]);
        SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(relation),
            WildcardAdditionalOptions {
                opt_except: Some(ExceptSelectItem {
                    first_element: first.clone(),
                    additional_elements: rest.to_vec(),
                }),
                ..WildcardAdditionalOptions::default()
            },
        )
    });
    let items: Vec<SelectItem> = columns.chain(others).collect();
    select.projection.splice(position..=position, items);
}

/// A join of two relations by columns that both have.
struct UsingJoin {
    columns: Vec<Ident>,
    /// The names of the relations whose columns come out.
    relations: Vec<Ident>,
}

impl UsingJoin {
    /// The join that FROM is, if it is such a one.
    fn of(select: &Select) -> Option<Self> {
        let [from] = select.from.as_slice() else {
            return None;
        };
        let [join] = from.joins.as_slice() else {
            return None;
        };
        let left = name(&from.relation)?;
        let (constraint, relations) = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => {
                (constraint, vec![left, name(&join.relation)?])
            }
            JoinOperator::Semi(constraint) | JoinOperator::LeftSemi(constraint) => {
                (constraint, vec![left])
            }
            _ => return None,
        };
        let JoinConstraint::Using(shared) = constraint else {
            return None;
        };
        Some(Self {
            columns: shared.iter().map(single).collect::<Option<_>>()?,
            relations,
        })
    }
}

/// What the columns of a relation are called by.
fn name(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. }
            if alias.is_some() =>
        {
            alias.as_ref().map(|alias| alias.name.clone())
        }
        TableFactor::Table {
            name, args: None, ..
        } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

fn single(name: &ObjectName) -> Option<Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident().cloned(),
        _ => None,
    }
}

fn is_plain_wildcard(item: &SelectItem) -> bool {
    let SelectItem::Wildcard(options) = item else {
        return false;
    };
    *options
        == WildcardAdditionalOptions {
            wildcard_token: options.wildcard_token.clone(),
            ..WildcardAdditionalOptions::default()
        }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::SetExpr, dialect::GenericDialect, parser::Parser};

    use super::*;

    fn rewritten(text: &str) -> String {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).unwrap();
        let mut query = parser.parse_query().unwrap();
        if let SetExpr::Select(select) = query.body.as_mut() {
            columns_first(select);
        }
        query.to_string()
    }

    #[test]
    fn columns_joined_by_come_first() {
        assert_eq!(
            rewritten("SELECT * FROM l JOIN r USING (k)"),
            "SELECT l.k, l.* EXCEPT (k), r.* EXCEPT (k) FROM l JOIN r USING(k)"
        );
        assert_eq!(
            rewritten("SELECT 1, * FROM a AS x LEFT JOIN (SELECT k, i FROM b) AS y USING(k, i)"),
            "SELECT 1, x.k, x.i, x.* EXCEPT (k, i), y.* EXCEPT (k, i) \
             FROM a AS x LEFT JOIN (SELECT k, i FROM b) AS y USING(k, i)"
        );
        assert_eq!(
            rewritten("SELECT * FROM l LEFT SEMI JOIN r USING(k)"),
            "SELECT l.k, l.* EXCEPT (k) FROM l LEFT SEMI JOIN r USING(k)"
        );
    }

    #[test]
    fn what_has_no_such_columns_is_left_alone() {
        for text in [
            "SELECT * FROM l",
            "SELECT * FROM l JOIN r ON l.k = r.k",
            "SELECT * FROM l FULL JOIN r USING(k)",
            "SELECT * FROM l JOIN r USING(k) JOIN s USING(k)",
            "SELECT * FROM l JOIN (SELECT k FROM r) USING(k)",
            "SELECT l.* FROM l JOIN r USING(k)",
            "SELECT * EXCEPT (v) FROM l JOIN r USING(k)",
            "SELECT k FROM l JOIN r USING(k)",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }
}
