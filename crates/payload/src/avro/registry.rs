//! A schema registry that speaks Confluent's protocol: messages begin with a zero and the id of their schema.
//!
//! What an id means never changes, so it is asked for once. Failures are not remembered: the next epoch asks again.
//! Functions are called by tasks that must not wait; what they wait for here happens on a thread of its own, and a
//! runtime with several workers is told, so that others do the tasks behind it. That happens when a query is planned and
//! when a message has an id that is new, which is why these are not asynchronous functions of DataFusion, which would
//! have every batch wait its turn, and which stateful operators do not call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::{Result, plan_err};
use headwater_core::{Clock, Error, ErrorKind, SystemClock};
use serde_json::{Value, json};

use super::http::{Answer, Request, send};
use crate::options::Options;

/// The options of a registry.
pub(super) const OPTIONS: &[&str] = &[
    "schemaRegistryUrl",
    "schemaRegistrySubject",
    "schemaRegistryUser",
    "schemaRegistryPassword",
];

/// For how long the latest schema of a subject is the latest one, in milliseconds: the planning of one query.
const LATEST_IS_LATEST: i64 = 30_000;

/// Where a registry is, and which subject is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    /// Without a slash at its end, and without user and password.
    pub(super) url: String,
    pub(super) subject: Option<String>,
    user: Option<String>,
    /// The environment variable that holds it: what a plan shows is no secret.
    password: Option<String>,
}

impl Registry {
    /// From its options; `None` if there is no URL among them.
    ///
    /// # Errors
    /// When the URL is none or holds a password, when one option needs another, or when the password is not the name of an
    /// environment variable.
    pub(super) fn of(function: &str, options: &mut Options) -> Result<Option<Self>> {
        let [url, subject, user, password] = OPTIONS else {
            return plan_err!("{function}: a registry has four options");
        };
        let (url, subject) = (options.take(url), options.take(subject));
        let (user, password) = (options.take(user), options.take(password));
        let Some(url) = url else {
            if subject.is_some() || user.is_some() || password.is_some() {
                return plan_err!(
                    "{function}: give schemaRegistryUrl too, which the other options belong to"
                );
            }
            return Ok(None);
        };
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        match rest {
            Some(rest) if rest.contains('@') => {
                return plan_err!(
                    "{function}: schemaRegistryUrl must not hold a password: write schemaRegistryUser and schemaRegistryPassword"
                );
            }
            Some(rest) if !rest.is_empty() => {}
            _ => {
                return plan_err!(
                    "{function}: schemaRegistryUrl begins with http:// or https://, found '{url}'"
                );
            }
        }
        let password = match password {
            None => None,
            Some(text) => match text.strip_prefix("${").and_then(|t| t.strip_suffix('}')) {
                Some(name) if !name.is_empty() => Some(name.to_owned()),
                _ => {
                    return plan_err!(
                        "{function}: schemaRegistryPassword is the name of an environment variable, '${{NAME}}', since plans are shown"
                    );
                }
            },
        };
        Ok(Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            subject,
            user,
            password,
        }))
    }

    fn credentials(&self) -> Result<Option<(String, String)>, Error> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let password = match &self.password {
            None => String::new(),
            Some(name) => std::env::var(name).map_err(|_| {
                Error::invalid(format!(
                    "schema registry {}: the environment variable {name}, which schemaRegistryPassword names, is not set",
                    self.url
                ))
            })?,
        };
        Ok(Some((user.clone(), password)))
    }

    /// Asks, and gives the JSON of the answer. `what` says what is asked for.
    fn ask(&self, path: &str, body: Option<Value>, what: &str) -> Result<Value, Error> {
        let answer = send(Request {
            url: format!("{}{path}", self.url),
            credentials: self.credentials()?,
            body: body.map(|body| body.to_string()),
        });
        read(&self.url, what, answer)
    }
}

/// The JSON of an answer, or what is wrong, in words that name the registry and what it was asked for.
fn read(url: &str, what: &str, answer: Result<Answer, String>) -> Result<Value, Error> {
    let answer = answer.map_err(|error| {
        Error::unavailable(format!("schema registry {url} cannot be reached for {what}: {error}; it is asked again when the query is started again"))
    })?;
    let parsed: Option<Value> = serde_json::from_str(&answer.body).ok();
    if answer.status == 200 {
        return parsed.ok_or_else(|| {
            Error::data(format!(
                "schema registry {url} gave no JSON for {what}: is it a registry?"
            ))
        });
    }
    let message = parsed
        .as_ref()
        .and_then(|value| value.get("message"))
        .and_then(Value::as_str)
        .unwrap_or("no message");
    let (kind, remedy) = match answer.status {
        401 | 403 => (
            ErrorKind::Invalid,
            "check schemaRegistryUser and schemaRegistryPassword",
        ),
        404 => (
            ErrorKind::Data,
            "check that messages and subject belong to this registry",
        ),
        409 | 422 => (
            ErrorKind::Invalid,
            "the schema is not compatible with what the subject has",
        ),
        _ => (
            ErrorKind::Unavailable,
            "it is asked again when the query is started again",
        ),
    };
    Err(Error::new(
        kind,
        format!(
            "schema registry {url} answered {} for {what}: {message}; {remedy}",
            answer.status
        ),
    ))
}

/// A schema that a registry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: u32,
    pub(super) schema: String,
}

/// What registries have said.
#[derive(Debug, Default)]
pub(super) struct Registries {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// By URL and id.
    schemas: HashMap<(String, u32), Arc<str>>,
    /// By URL and subject, and when that was.
    latest: HashMap<(String, String), (i64, Known)>,
    /// By URL, subject and schema.
    ids: HashMap<(String, String, String), u32>,
}

impl Registries {
    /// Looks something up, in a short section that cannot panic.
    fn with<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The schema that an id stands for.
    ///
    /// # Errors
    /// `Unavailable` if the registry cannot be reached, `Data` if it does not know the id.
    pub(super) fn schema(&self, registry: &Registry, id: u32) -> Result<Arc<str>, Error> {
        let key = (registry.url.clone(), id);
        if let Some(schema) = self.with(|said| said.schemas.get(&key).cloned()) {
            return Ok(schema);
        }
        let subject = registry.subject.as_deref().unwrap_or("any");
        let what = format!("schema id {id} (subject {subject})");
        let answer = registry.ask(&format!("/schemas/ids/{id}"), None, &what)?;
        let schema: Arc<str> = schema_text(&registry.url, &what, &answer)?.into();
        self.with(|said| said.schemas.insert(key, Arc::clone(&schema)));
        Ok(schema)
    }

    /// The latest schema of the registry's subject.
    ///
    /// # Errors
    /// `Unavailable` if the registry cannot be reached, `Data` if it does not know the subject.
    pub(super) fn latest(&self, registry: &Registry, subject: &str) -> Result<Known, Error> {
        let key = (registry.url.clone(), subject.to_owned());
        let now = SystemClock::default().now_millis();
        let found = self.with(|said| said.latest.get(&key).cloned());
        if let Some((at, known)) = found
            && now - at < LATEST_IS_LATEST
        {
            return Ok(known);
        }
        let what = format!("the latest schema of subject {subject}");
        let path = format!("/subjects/{}/versions/latest", escaped(subject));
        let answer = registry.ask(&path, None, &what)?;
        let known = Known {
            id: id(&registry.url, &what, &answer)?,
            schema: schema_text(&registry.url, &what, &answer)?,
        };
        self.with(|said| said.latest.insert(key, (now, known.clone())));
        Ok(known)
    }

    /// The id of a schema under a subject; it is registered if `register` says so and it is not there.
    ///
    /// # Errors
    /// `Unavailable` if the registry cannot be reached, `Invalid` or `Data` if it does not take or not know the schema.
    pub(super) fn id(
        &self,
        registry: &Registry,
        subject: &str,
        schema: &str,
        register: bool,
    ) -> Result<u32, Error> {
        let key = (registry.url.clone(), subject.to_owned(), schema.to_owned());
        if let Some(id) = self.with(|said| said.ids.get(&key).copied()) {
            return Ok(id);
        }
        let what = format!("the id of a schema of subject {subject}");
        let path = match register {
            true => format!("/subjects/{}/versions", escaped(subject)),
            false => format!("/subjects/{}", escaped(subject)),
        };
        let answer = registry.ask(&path, Some(json!({ "schema": schema })), &what)?;
        let id = id(&registry.url, &what, &answer)?;
        self.with(|said| said.ids.insert(key, id));
        Ok(id)
    }
}

fn id(url: &str, what: &str, answer: &Value) -> Result<u32, Error> {
    let id = answer.get("id").and_then(Value::as_u64);
    id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
        Error::data(format!(
            "schema registry {url} gave no id for {what}: is it a registry?"
        ))
    })
}

fn schema_text(url: &str, what: &str, answer: &Value) -> Result<String, Error> {
    let kind = answer
        .get("schemaType")
        .and_then(Value::as_str)
        .unwrap_or("AVRO");
    if kind != "AVRO" {
        return Err(Error::data(format!(
            "schema registry {url}: {what} is of type {kind}, and only AVRO can be read"
        )));
    }
    let references = answer.get("references").and_then(Value::as_array);
    if references.is_some_and(|references| !references.is_empty()) {
        return Err(Error::data(format!(
            "schema registry {url}: {what} refers to other schemas, which is not supported: register it as one"
        )));
    }
    let schema = answer.get("schema").and_then(Value::as_str);
    schema.map(str::to_owned).ok_or_else(|| {
        Error::data(format!(
            "schema registry {url} gave no schema for {what}: is it a registry?"
        ))
    })
}

/// A subject as a part of a path.
fn escaped(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
