//! One request to a registry and its answer.

use std::time::Duration;

/// What is asked: a GET, or a POST if there is a body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) url: String,
    pub(super) credentials: Option<(String, String)>,
    pub(super) body: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// How long a registry may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Sends a request and waits for the answer, on a thread of its own with a runtime of its own: the caller may be a task.
pub(super) fn send(request: Request) -> Result<Answer, String> {
    let wait = || {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| error.to_string())?;
                runtime.block_on(exchange(request))
            });
            asked
                .join()
                .unwrap_or_else(|_| Err("the request was broken off".to_owned()))
        })
    };
    let several_workers = tokio::runtime::Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
    });
    if several_workers {
        tokio::task::block_in_place(wait)
    } else {
        wait()
    }
}

async fn exchange(request: Request) -> Result<Answer, String> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .build()
        .map_err(told)?;
    let mut asked = match request.body {
        None => client.get(&request.url),
        Some(body) => client
            .post(&request.url)
            .header("Content-Type", MEDIA_TYPE)
            .body(body),
    };
    asked = asked.header("Accept", format!("{MEDIA_TYPE}, application/json"));
    if let Some((user, password)) = request.credentials {
        asked = asked.basic_auth(user, Some(password));
    }
    let answer = asked.send().await.map_err(told)?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(told)?;
    Ok(Answer { status, body })
}

/// An error with its causes; the URL is said by who asks.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
