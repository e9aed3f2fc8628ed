//! `SELECT *` over `JOIN … USING (k)`: the columns joined by come first, as in Spark, and once.
//!
//! DataFusion gives them once too, but where the left side has them. Left alone are relations without a name, columns
//! whose relation is not known before planning, joins that make a column of both sides (FULL) and NATURAL joins.

use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins,
    WildcardAdditionalOptions,
};

/// Writes `*` as `l.k, l.* EXCEPT (k), r.* EXCEPT (k)`.
pub(crate) fn columns_first(select: &mut Select) {
    let Some(columns) = Columns::of(select) else {
        return;
    };
    if let Some(position) = select.projection.iter().position(is_plain_wildcard) {
        let items: Vec<SelectItem> = columns.0.into_iter().map(Part::item).collect();
        select.projection.splice(position..=position, items);
    }
}

/// Writes `l RIGHT JOIN r USING (k)` as `r LEFT JOIN l USING (k)`, for which DataFusion too means the column of `r` by `k`.
/// What `*` stands for must be written out before.
pub(crate) fn kept_side_first(select: &mut Select) {
    for from in &mut select.from {
        let [join] = from.joins.as_mut_slice() else {
            continue;
        };
        if let JoinOperator::Right(constraint @ JoinConstraint::Using(_))
        | JoinOperator::RightOuter(constraint @ JoinConstraint::Using(_)) = &join.join_operator
        {
            join.join_operator = JoinOperator::LeftOuter(constraint.clone());
            std::mem::swap(&mut from.relation, &mut join.relation);
        }
    }
}

/// What `*` stands for, in order.
#[derive(Default)]
struct Columns(Vec<Part>);

enum Part {
    /// The column of a relation.
    Column(Ident, Ident),
    /// The columns of a relation but these.
    Rest(Ident, Vec<Ident>),
}

impl Columns {
    /// The columns of FROM, if there is a USING in it and all is known.
    fn of(select: &Select) -> Option<Self> {
        let [TableWithJoins { relation, joins }] = select.from.as_slice() else {
            return None;
        };
        let mut columns = Self(vec![Part::Rest(name(relation)?, vec![])]);
        let mut is_using = false;
        for join in joins {
            is_using |= columns.join(join, joins.len() == 1)?;
        }
        is_using.then_some(columns)
    }

    /// Adds the columns of a join; whether it has a USING. `None` where they are not known.
    fn join(&mut self, join: &Join, is_only: bool) -> Option<bool> {
        let right = name(&join.relation);
        let (constraint, keeps_right, is_right) = match &join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => (constraint, true, false),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                (constraint, true, true)
            }
            JoinOperator::FullOuter(
                constraint @ (JoinConstraint::On(_) | JoinConstraint::None),
            ) => (constraint, true, false),
            JoinOperator::Semi(constraint)
            | JoinOperator::LeftSemi(constraint)
            | JoinOperator::Anti(constraint)
            | JoinOperator::LeftAnti(constraint) => (constraint, false, false),
            _ => return None,
        };
        let shared: Vec<Ident> = match constraint {
            JoinConstraint::Using(shared) => shared.iter().map(single).collect::<Option<_>>()?,
            JoinConstraint::Natural => return None,
            JoinConstraint::On(_) | JoinConstraint::None => {
                if keeps_right {
                    self.0.push(Part::Rest(right?, vec![]));
                }
                return Some(false);
            }
        };
        let mut first = Vec::new();
        for column in &shared {
            let of_left = self.take(column)?;
            first.push(match (is_right, is_only) {
                (false, _) => of_left,
                (true, true) => Part::Column(right.clone()?, column.clone()),
                (true, false) => return None,
            });
        }
        self.0.splice(..0, first);
        if keeps_right {
            self.0.push(Part::Rest(right?, shared));
        }
        Some(true)
    }

    /// Takes a column out; `None` if it may be one of several relations.
    fn take(&mut self, column: &Ident) -> Option<Part> {
        let is_it = |name: &Ident| name.value.eq_ignore_ascii_case(&column.value);
        let known = self
            .0
            .iter()
            .position(|part| matches!(part, Part::Column(_, name) if is_it(name)));
        if let Some(known) = known {
            return Some(self.0.remove(known));
        }
        let mut rests = self.0.iter_mut().filter_map(|part| match part {
            Part::Rest(relation, but) => Some((relation, but)),
            Part::Column(_, _) => None,
        });
        let (relation, but) = rests.next()?;
        if rests.next().is_some() {
            return None;
        }
        but.push(column.clone());
        Some(Part::Column(relation.clone(), column.clone()))
    }
}

impl Part {
    fn item(self) -> SelectItem {
        match self {
            Self::Column(relation, column) => {
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![relation, column]))
            }
            Self::Rest(relation, but) => {
                let mut but = but.into_iter();
                let except = but.next().map(|first_element| ExceptSelectItem {
                    first_element,
                    additional_elements: but.collect(),
                });
                let relation = ObjectName(vec![ObjectNamePart::Identifier(relation)]);
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(relation),
                    WildcardAdditionalOptions {
                        opt_except: except,
                        ..WildcardAdditionalOptions::default()
                    },
                )
            }
        }
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
            kept_side_first(select);
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
        assert_eq!(
            rewritten("SELECT * FROM l JOIN r USING(k) LEFT JOIN s USING(k)"),
            "SELECT l.k, l.* EXCEPT (k), r.* EXCEPT (k), s.* EXCEPT (k) \
             FROM l JOIN r USING(k) LEFT JOIN s USING(k)"
        );
        assert_eq!(
            rewritten("SELECT * FROM l JOIN r USING(k) LEFT JOIN s ON l.i = s.i"),
            "SELECT l.k, l.* EXCEPT (k), r.* EXCEPT (k), s.* \
             FROM l JOIN r USING(k) LEFT JOIN s ON l.i = s.i"
        );
    }

    #[test]
    fn a_right_join_gives_the_columns_of_its_right_side_first() {
        assert_eq!(
            rewritten("SELECT * FROM l RIGHT JOIN r USING(k)"),
            "SELECT r.k, l.* EXCEPT (k), r.* EXCEPT (k) FROM r LEFT OUTER JOIN l USING(k)"
        );
        assert_eq!(
            rewritten("SELECT k FROM l RIGHT OUTER JOIN r USING(k)"),
            "SELECT k FROM r LEFT OUTER JOIN l USING(k)"
        );
    }

    #[test]
    fn what_has_no_such_columns_is_left_alone() {
        for text in [
            "SELECT * FROM l",
            "SELECT * FROM l JOIN r ON l.k = r.k",
            "SELECT * FROM l FULL JOIN r USING(k)",
            "SELECT * FROM l JOIN r USING(k) JOIN s USING(i)",
            "SELECT * FROM l JOIN (SELECT k FROM r) USING(k)",
            "SELECT l.* FROM l JOIN r USING(k)",
            "SELECT * EXCEPT (v) FROM l JOIN r USING(k)",
            "SELECT k FROM l JOIN r USING(k)",
        ] {
            assert_eq!(rewritten(text), text);
        }
    }
}
