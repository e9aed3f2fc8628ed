//! `headwater explain`: how the queries of a pipeline are answered.

use crate::{args::PipelineArgs, exit, exit::Failure, pipeline};

/// Plans a pipeline and prints the incremental plan of each query.
pub(crate) async fn explain(args: PipelineArgs) -> Result<(), Failure> {
    let planned = pipeline::plan(&args, pipeline::session(&args.session)?).await?;
    let mut text = String::new();
    for query in planned.pipeline.queries() {
        text.push_str(&format!(
            "-- {} (line {}), {} mode, into {}\n{}\n\n",
            query.name(),
            query.line(),
            query.output_mode(),
            query.sink().name,
            query.explain().trim_end()
        ));
    }
    exit::print(&text)
}
