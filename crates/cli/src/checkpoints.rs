//! Where queries keep their checkpoints.

use headwater::PipelineQuery;

/// Where checkpoints are kept if nobody says where.
const CHECKPOINTS: &str = "checkpoints";

/// Sinks that lose what they show when the process ends: without a checkpoint of their own they begin anew.
const FORGETFUL: [&str; 3] = ["console", "memory", "noop"];

/// The folder in which queries keep their checkpoints, unless they name one themselves.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    root: String,
    /// Whether the folder was given, and so is everybody's.
    is_for_all: bool,
}

impl Checkpoints {
    /// The folder that was given, else the one for pipelines of this name.
    pub(crate) fn new(given: Option<String>, stem: &str) -> Self {
        Self {
            is_for_all: given.is_some(),
            root: given.unwrap_or_else(|| format!("{CHECKPOINTS}/{stem}")),
        }
    }

    /// The folder for this query; none if what it shows is gone with the process anyway.
    pub(crate) fn root_of(&self, query: &PipelineQuery) -> Option<String> {
        let format = query.sink().format.to_ascii_lowercase();
        let is_forgetful = FORGETFUL.contains(&format.as_str());
        (self.is_for_all || !is_forgetful).then(|| self.root.clone())
    }
}
