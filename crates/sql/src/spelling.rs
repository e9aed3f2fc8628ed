//! Names in any case: Spark finds column `userId` under `USERID` too, and keeps the spelling that was declared.
//!
//! DataFusion either folds all names to lower case or compares them exactly. Here it compares exactly, and before it
//! does, every name of the statement that nobody declared in this spelling is given a declared one that differs by
//! case only. Declared are the columns and struct fields of the tables that the statement reads and the aliases in it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, TableAlias, TableFactor,
    VisitMut, VisitorMut,
};

/// The names that are declared somewhere.
#[derive(Debug, Default)]
pub(crate) struct Spelling {
    exact: HashSet<String>,
    folded: HashMap<String, String>,
    tables: HashMap<String, String>,
}

impl Spelling {
    /// A name in the spelling that counts; the first of two spellings wins.
    pub(crate) fn declare(&mut self, name: &str) {
        self.exact.insert(name.to_owned());
        self.folded
            .entry(name.to_lowercase())
            .or_insert_with(|| name.to_owned());
    }

    /// The columns of a table, and the fields of structs in them.
    pub(crate) fn declare_fields(&mut self, fields: &Fields) {
        for field in fields {
            self.declare(field.name());
            self.declare_type(field.data_type());
        }
    }

    fn declare_type(&mut self, data_type: &DataType) {
        match data_type {
            DataType::Struct(fields) => self.declare_fields(fields),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                self.declare_type(item.data_type());
            }
            _ => {}
        }
    }

    /// A table whose name was written `written`.
    pub(crate) fn declare_table(&mut self, written: &str, name: &str) {
        self.tables.insert(written.to_lowercase(), name.to_owned());
        self.declare(name);
    }

    /// Corrects the names in `node`, after declaring its aliases.
    pub(crate) fn correct(&mut self, node: &mut impl VisitMut) {
        let _: ControlFlow<()> = node.visit(&mut Aliases(self));
        // Windows and their fields are known without being declared; a column of that name comes first.
        for name in ["window", "session_window", "start", "end"] {
            self.folded
                .entry(name.to_owned())
                .or_insert_with(|| name.to_owned());
        }
        let _: ControlFlow<()> = node.visit(&mut Correction(self));
    }

    fn correct_ident(&self, ident: &mut Ident) {
        if ident.quote_style.is_none()
            && !self.exact.contains(&ident.value)
            && let Some(declared) = self.folded.get(&ident.value.to_lowercase())
        {
            ident.value.clone_from(declared);
        }
    }
}

struct Aliases<'a>(&'a mut Spelling);

impl Aliases<'_> {
    fn alias(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias {
            self.0.declare(&alias.name.value);
            alias
                .columns
                .iter()
                .for_each(|column| self.0.declare(&column.name.value));
        }
    }
}

impl VisitorMut for Aliases<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(Some(&cte.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.0.declare(&alias.value);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => self.alias(alias.as_ref()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

struct Correction<'a>(&'a Spelling);

impl VisitorMut for Correction<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let written = relation.to_string();
        if let Some(name) = self.0.tables.get(&written.to_lowercase())
            && let Some(ObjectNamePart::Identifier(last)) = relation.0.last_mut()
        {
            last.value.clone_from(name);
        } else if let [ObjectNamePart::Identifier(only)] = relation.0.as_mut_slice() {
            // The name of a WITH query.
            self.0.correct_ident(only);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.0.correct_ident(ident),
            Expr::CompoundIdentifier(parts) => {
                parts.iter_mut().for_each(|part| self.0.correct_ident(part))
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
