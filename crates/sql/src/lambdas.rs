//! Lambdas that DataFusion's functions do not take: of a field of their parameter, and of several parameters.
//!
//! A lambda of several parameters becomes one of a struct that holds them, over arrays zipped together.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LambdaFunction, LambdaFunctionParameter, OneOrManyWithParens, VisitMut, VisitorMut,
};

use crate::calls::{call, text};
use crate::functions::zip::ZIP;

/// `x -> x.a`: what looks like a column of relation `x` is a field of the parameter.
pub(crate) fn fields_of_parameters(lambda: &mut LambdaFunction) {
    let names: Vec<Ident> = names(lambda).cloned().collect();
    let field = |expr: &Expr| {
        let Expr::CompoundIdentifier(parts) = expr else {
            return None;
        };
        let (first, fields) = parts.split_first()?;
        let parameter = names.iter().find(|name| name.value == first.value)?;
        let parameter = Expr::Identifier(parameter.clone());
        Some(
            fields
                .iter()
                .fold(parameter, |value, name| get_field(value, &name.value)),
        )
    };
    let _: ControlFlow<()> = lambda.body.visit(&mut Replace(field));
}

/// A call of function `name` with lambdas of several parameters, as calls of functions that take one.
pub(crate) fn of_several(name: &str, args: &[Expr]) -> Option<Expr> {
    match (name, args) {
        ("array_transform", [list, Expr::Lambda(lambda)]) => {
            let (zipped, lambda) = with_positions(list, lambda)?;
            Some(call(name, vec![zipped, lambda]))
        }
        ("array_filter", [list, Expr::Lambda(lambda)]) => {
            let item = names(lambda).next()?.value.clone();
            let (zipped, predicate) = with_positions(list, lambda)?;
            let kept = call(name, vec![zipped, predicate]);
            let entry = Ident::new("__kept");
            let unzip = one_parameter(entry.clone(), get_field(Expr::Identifier(entry), &item));
            Some(call("array_transform", vec![kept, unzip]))
        }
        ("zip_with", [left, right, Expr::Lambda(lambda)]) => {
            let [first, second] = two(lambda)?;
            let zipped = zip(&[(&first, left.clone()), (&second, right.clone())]);
            let lambda = over_struct(lambda, &[(&first, &first.value), (&second, &second.value)]);
            Some(call("array_transform", vec![zipped, lambda]))
        }
        ("map_filter", [map, Expr::Lambda(lambda)]) => {
            let kept = call("array_filter", vec![entries(map), over_entries(lambda)?]);
            Some(call("map_from_entries", vec![kept]))
        }
        ("transform_values", [map, Expr::Lambda(lambda)]) => {
            let values = call("array_transform", vec![entries(map), over_entries(lambda)?]);
            let keys = call("map_keys", vec![map.clone()]);
            Some(call("map_from_arrays", vec![keys, values]))
        }
        ("transform_keys", [map, Expr::Lambda(lambda)]) => {
            let keys = call("array_transform", vec![entries(map), over_entries(lambda)?]);
            let values = call("map_values", vec![map.clone()]);
            Some(call("map_from_arrays", vec![keys, values]))
        }
        _ => None,
    }
}

/// `arrays_zip(xs, ys)`: fields are called by their column, or by their place.
pub(crate) fn arrays_zip(args: &[Expr]) -> Expr {
    let named: Vec<(Ident, Expr)> = args
        .iter()
        .enumerate()
        .map(|(place, array)| {
            let name = match array {
                Expr::Identifier(name) => name.clone(),
                Expr::CompoundIdentifier(parts) => parts
                    .last()
                    .cloned()
                    .unwrap_or_else(|| Ident::new(place.to_string())),
                _ => Ident::new(place.to_string()),
            };
            (name, array.clone())
        })
        .collect();
    zip(&named
        .iter()
        .map(|(name, array)| (name, array.clone()))
        .collect::<Vec<_>>())
}

fn names(lambda: &LambdaFunction) -> impl Iterator<Item = &Ident> {
    let parameters: Vec<&LambdaFunctionParameter> = match &lambda.params {
        OneOrManyWithParens::One(one) => vec![one],
        OneOrManyWithParens::Many(many) => many.iter().collect(),
    };
    parameters.into_iter().map(|parameter| &parameter.name)
}

fn two(lambda: &LambdaFunction) -> Option<[Ident; 2]> {
    let names: Vec<Ident> = names(lambda).cloned().collect();
    names.try_into().ok()
}

/// The list with the place of each item beside it, and the lambda of item and place as one of both.
fn with_positions(list: &Expr, lambda: &LambdaFunction) -> Option<(Expr, Expr)> {
    let [item, place] = two(lambda)?;
    let positions = call("__positions", vec![list.clone()]);
    let zipped = zip(&[(&item, list.clone()), (&place, positions)]);
    Some((
        zipped,
        over_struct(lambda, &[(&item, &item.value), (&place, &place.value)]),
    ))
}

fn entries(map: &Expr) -> Expr {
    call("map_entries", vec![map.clone()])
}

/// A lambda of key and value as one of an entry.
fn over_entries(lambda: &LambdaFunction) -> Option<Expr> {
    let [key, value] = two(lambda)?;
    Some(over_struct(lambda, &[(&key, "key"), (&value, "value")]))
}

fn zip(arrays: &[(&Ident, Expr)]) -> Expr {
    let args = arrays
        .iter()
        .flat_map(|(name, array)| [text(&name.value), array.clone()]);
    call(ZIP, args.collect())
}

/// The lambda with every parameter replaced by a field of one that holds them all.
fn over_struct(lambda: &LambdaFunction, fields: &[(&Ident, &str)]) -> Expr {
    let parameters: Vec<&str> = fields.iter().map(|(name, _)| name.value.as_str()).collect();
    let whole = Ident::new(format!("__{}", parameters.join("_")));
    let mut body = lambda.body.as_ref().clone();
    let field = |expr: &Expr| {
        let Expr::Identifier(name) = expr else {
            return None;
        };
        let (_, field) = fields
            .iter()
            .find(|(parameter, _)| parameter.value == name.value)?;
        Some(get_field(Expr::Identifier(whole.clone()), field))
    };
    let _: ControlFlow<()> = body.visit(&mut Replace(field));
    one_parameter(whole, body)
}

fn one_parameter(name: Ident, body: Expr) -> Expr {
    Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter {
            name,
            data_type: None,
        }),
        body: Box::new(body),
        syntax: datafusion::sql::sqlparser::ast::LambdaSyntax::Arrow,
    })
}

fn get_field(value: Expr, name: &str) -> Expr {
    call("get_field", vec![value, text(name)])
}

/// Puts what the function says in the place of an expression. What was put there holds none that would be replaced again
/// but in the place of the parameter, which has another name.
struct Replace<F>(F);

impl<F: FnMut(&Expr) -> Option<Expr>> VisitorMut for Replace<F> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(other) = (self.0)(expr) {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}
