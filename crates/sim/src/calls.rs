//! The neutral tree of DataFrame calls of a scenario, as calls on this library's frames.
//!
//! Every node is an object with an `op`, its inputs and SQL texts. An unknown `op` or field is an error.

use datafusion::common::JoinType;
use headwater::{DataFrame, Session};
use headwater_core::{Error, Result};
use serde_json::{Map, Value};

/// Builds the frame of a tree.
///
/// # Errors
/// `Data` if the tree cannot be read, `Invalid` if a call is refused.
pub async fn build(session: &Session, tree: &Value) -> Result<DataFrame> {
    let node = Node::new(tree)?;
    match node.op {
        "stream" => {
            node.only(&["name"])?;
            session.table(node.text("name")?).await
        }
        "select" => {
            node.only(&["input", "exprs"])?;
            input(session, &node)
                .await?
                .select_expr(node.texts("exprs")?)
        }
        "where" => {
            node.only(&["input", "condition"])?;
            let frame = input(session, &node).await?;
            let condition = frame.expr(node.text("condition")?)?;
            frame.filter(condition)
        }
        "withColumn" => {
            node.only(&["input", "name", "expr"])?;
            let frame = input(session, &node).await?;
            let expr = frame.expr(node.text("expr")?)?;
            frame.with_column(node.text("name")?, expr)
        }
        "withWatermark" => {
            node.only(&["input", "column", "delay"])?;
            input(session, &node)
                .await?
                .with_watermark(node.text("column")?, node.text("delay")?)
        }
        "alias" => {
            node.only(&["input", "name"])?;
            input(session, &node).await?.alias(node.text("name")?)
        }
        "limit" => {
            node.only(&["input", "n"])?;
            let rows = node
                .field("n")?
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| node.wrong("n"))?;
            input(session, &node).await?.limit(rows)
        }
        "aggregate" => {
            node.only(&["input", "keys", "aggregates"])?;
            let frame = input(session, &node).await?;
            let parse = |texts: Vec<&str>| {
                let parsed: Result<Vec<_>> = texts.iter().map(|text| frame.expr(text)).collect();
                parsed
            };
            let keys = parse(node.texts("keys")?)?;
            let aggregates = parse(node.texts("aggregates")?)?;
            frame.group_by(keys)?.agg(aggregates)
        }
        "union" => {
            node.only(&["left", "right"])?;
            let (left, right) = both(session, &node).await?;
            left.union(right)
        }
        "join" => {
            node.only(&["left", "right", "how", "on"])?;
            let (left, right) = both(session, &node).await?;
            let how = join_type(node.text("how")?)?;
            let schema = left.schema().join(right.schema()).map_err(|error| {
                Error::invalid("the columns of a join are ambiguous").with_source(error)
            })?;
            let on = session.expr(node.text("on")?, &schema)?;
            left.join_on(right, how, [on])
        }
        "distinct" => {
            node.only(&["input"])?;
            input(session, &node).await?.distinct()
        }
        "dropDuplicates" => {
            node.only(&["input", "columns"])?;
            let columns = node.texts_or_all("columns")?;
            input(session, &node).await?.drop_duplicates(&columns)
        }
        "dropDuplicatesWithinWatermark" => {
            node.only(&["input", "columns"])?;
            let columns = node.texts_or_all("columns")?;
            input(session, &node)
                .await?
                .drop_duplicates_within_watermark(&columns)
        }
        op => Err(Error::data(format!("unknown call '{op}'"))),
    }
}

async fn input(session: &Session, node: &Node<'_>) -> Result<DataFrame> {
    Box::pin(build(session, node.field("input")?)).await
}

async fn both(session: &Session, node: &Node<'_>) -> Result<(DataFrame, DataFrame)> {
    let left = Box::pin(build(session, node.field("left")?)).await?;
    let right = Box::pin(build(session, node.field("right")?)).await?;
    Ok((left, right))
}

fn join_type(how: &str) -> Result<JoinType> {
    Ok(match how {
        "inner" => JoinType::Inner,
        "left_outer" | "left" => JoinType::Left,
        "right_outer" | "right" => JoinType::Right,
        "full_outer" | "full" | "outer" => JoinType::Full,
        "left_semi" | "semi" => JoinType::LeftSemi,
        "left_anti" | "anti" => JoinType::LeftAnti,
        _ => return Err(Error::data(format!("unknown kind of join '{how}'"))),
    })
}

/// One call.
struct Node<'a> {
    op: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Node<'a> {
    fn new(tree: &'a Value) -> Result<Self> {
        let fields = tree.as_object();
        match fields.and_then(|fields| Some((fields.get("op")?.as_str()?, fields))) {
            Some((op, fields)) => Ok(Self { op, fields }),
            None => Err(Error::data(format!("not a call: {tree}"))),
        }
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        let unknown = |key: &&String| *key != "op" && !known.contains(&key.as_str());
        match self.fields.keys().find(unknown) {
            None => Ok(()),
            Some(key) => Err(Error::data(format!(
                "call '{}' has the unknown field '{key}'",
                self.op
            ))),
        }
    }

    fn wrong(&self, name: &str) -> Error {
        Error::data(format!("call '{}' lacks a proper '{name}'", self.op))
    }

    fn field(&self, name: &str) -> Result<&'a Value> {
        self.fields.get(name).ok_or_else(|| self.wrong(name))
    }

    fn text(&self, name: &str) -> Result<&'a str> {
        self.field(name)?.as_str().ok_or_else(|| self.wrong(name))
    }

    fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        self.field(name)?
            .as_array()
            .and_then(|texts| texts.iter().map(Value::as_str).collect())
            .ok_or_else(|| self.wrong(name))
    }

    /// As [`Self::texts`]; none where the field is null, which stands for all.
    fn texts_or_all(&self, name: &str) -> Result<Vec<&'a str>> {
        match self.field(name)? {
            Value::Null => Ok(Vec::new()),
            _ => self.texts(name),
        }
    }
}
