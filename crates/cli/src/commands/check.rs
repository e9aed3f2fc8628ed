//! `headwater check`: plans everything, starts nothing.

use headwater::PipelineQuery;

use crate::{args::PipelineArgs, exit, exit::Failure, pipeline};

/// Plans a pipeline and prints a line for each query.
pub(crate) async fn check(args: PipelineArgs) -> Result<(), Failure> {
    let planned = pipeline::plan(&args, pipeline::session(&args.session)?).await?;
    let queries = planned.pipeline.queries();
    let lines: String = queries.iter().map(line).collect();
    let all = match queries.len() {
        0 => "no streaming queries".to_owned(),
        1 => "1 streaming query".to_owned(),
        queries => format!("{queries} streaming queries"),
    };
    exit::print(&format!(
        "{lines}{}: {all}, all right\n",
        planned.script.origin
    ))
}

fn line(query: &PipelineQuery) -> String {
    let sink = query.sink();
    format!(
        "{}: line {}, {} mode, into {} ({})\n",
        query.name(),
        query.line(),
        query.output_mode(),
        sink.name,
        sink.format
    )
}
