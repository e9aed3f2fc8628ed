//! `get_json_object`: what a path such as `$.items[0].price` or `$.items[*].price` finds in a text.
//!
//! The rules for lists are Spark's: `[*]` gives a list if it finds several values, and the value itself if it finds one.

use super::value::Json;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    AnyMember,
    Item(usize),
    AnyItem,
}

/// A path from the root, `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

/// How a found text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As it is.
    Raw,
    /// As JSON.
    Quoted,
    /// As JSON, and the items of a list for the list.
    Flat,
}

impl Path {
    /// Reads a path; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, behind) = if let Some(name) = rest.strip_prefix("['") {
                let (name, behind) = name.split_once("']")?;
                (Step::Member(name.to_owned()), behind)
            } else if let Some(place) = rest.strip_prefix('[') {
                let (place, behind) = place.split_once(']')?;
                let step = match place {
                    "*" => Step::AnyItem,
                    place => Step::Item(place.parse().ok()?),
                };
                (step, behind)
            } else {
                let name = rest.strip_prefix('.')?;
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, behind) = name.split_at(end);
                let step = match name {
                    "" => return None,
                    "*" => Step::AnyMember,
                    name => Step::Member(name.to_owned()),
                };
                (step, behind)
            };
            steps.push(step);
            rest = behind;
        }
        Some(Self(steps))
    }

    /// What it finds, as text; a text without its quotes.
    pub(super) fn find(&self, json: &Json) -> Option<String> {
        let mut found = Vec::new();
        collect(json, &self.0, Style::Raw, &mut found).then(|| found.join(","))
    }
}

/// Adds what `steps` find from `json` on; whether it was anything.
fn collect(json: &Json, steps: &[Step], style: Style, found: &mut Vec<String>) -> bool {
    let list = |found: &[String]| format!("[{}]", found.join(","));
    match (steps, json) {
        ([], Json::Text(text)) if style == Style::Raw => {
            found.push(text.clone());
            true
        }
        ([], Json::List(items)) if style == Style::Flat => {
            let any = items.iter().map(|item| collect(item, steps, style, found));
            any.fold(false, |any, one| any | one)
        }
        ([], json) => {
            found.push(json.to_string());
            true
        }
        ([Step::Member(name), rest @ ..], Json::Object(members)) => members
            .iter()
            .filter(|(key, value)| key == name && *value != Json::Null)
            .any(|(_, value)| collect(value, rest, style, found)),
        ([Step::AnyMember, rest @ ..], Json::Object(members)) => {
            let any = members
                .iter()
                .map(|(_, value)| collect(value, rest, style, found));
            any.fold(false, |any, one| any | one)
        }
        ([Step::AnyItem, Step::AnyItem, rest @ ..], Json::List(items)) => {
            let mut inner = Vec::new();
            let any = items
                .iter()
                .map(|item| collect(item, rest, Style::Flat, &mut inner));
            let any = any.fold(false, |any, one| any | one);
            found.push(list(&inner));
            any
        }
        ([Step::AnyItem, rest @ ..], Json::List(items)) => {
            let next = if style == Style::Flat {
                style
            } else {
                Style::Quoted
            };
            let mut inner = Vec::new();
            let hits = items
                .iter()
                .filter(|item| collect(item, rest, next, &mut inner))
                .count();
            match hits {
                0 => {}
                1 if style != Style::Quoted => found.push(inner.join(",")),
                _ => found.push(list(&inner)),
            }
            hits > 0
        }
        ([Step::Item(place), rest @ ..], Json::List(items)) => {
            let style = match rest {
                [Step::AnyItem, ..] => Style::Quoted,
                _ => style,
            };
            items
                .get(*place)
                .is_some_and(|item| collect(item, rest, style, found))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, path: &str) -> Option<String> {
        Path::parse(path)?.find(&Json::parse(text)?)
    }

    #[test]
    fn paths_find_what_they_name() {
        let text = r#"{"b": 1, "a b": "q\"", "a": {"y": [1, 2.50, "s"], "n": null}}"#;
        for (path, found) in [
            ("$.b", Some("1")),
            ("$['a b']", Some("q\"")),
            ("$.a.y[1]", Some("2.5")),
            ("$.a.y[2]", Some("s")),
            ("$.a.y[*]", Some(r#"[1,2.5,"s"]"#)),
            ("$.a", Some(r#"{"y":[1,2.5,"s"],"n":null}"#)),
            ("$.a.n", None),
            ("$.a.y[3]", None),
            ("$.b.c", None),
            ("a", None),
            ("$.", None),
            ("$.a[", None),
        ] {
            assert_eq!(find(text, path).as_deref(), found, "{path}");
        }
    }

    #[test]
    fn a_star_gives_a_list_of_several_and_a_single_value() {
        assert_eq!(
            find(r#"[{"a": "x"}, {"a": 2}, {}]"#, "$[*].a").as_deref(),
            Some(r#"["x",2]"#)
        );
        assert_eq!(find(r#"[{"a": "x"}]"#, "$[*].a").as_deref(), Some(r#""x""#));
        assert_eq!(find("[[1, 2], [3]]", "$[*][*]").as_deref(), Some("[1,2,3]"));
        assert_eq!(find("[]", "$[*]"), None);
    }
}
