//! `headwater run`: the queries of a pipeline, until they are done or Ctrl-C.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::select_all};
use headwater::{
    DataFrame, Pipeline, PipelineQuery, PipelineStep, StartOptions, StreamingQuery, Trigger,
};
use tokio::time::MissedTickBehavior;

use crate::{
    args::{Progress, RunArgs},
    checkpoints::Checkpoints,
    exit::{self, Failure},
    interrupt::Interrupts,
    pipeline::{self, Planned},
    status::{
        Board, Live,
        board::Totals,
        lines, live,
        log::{Aside, aside, print_tables_aside},
    },
    table,
};

/// How often log lines are written.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Runs a pipeline.
pub(crate) async fn run(args: RunArgs) -> Result<(), Failure> {
    let session = pipeline::session(&args.pipeline.session)?;
    let progress = shown(args.progress);
    print_tables_aside(&session, tables_go_to(progress));
    let planned = pipeline::plan(&args.pipeline, session).await?;
    if planned.pipeline.steps().is_empty() {
        return Err(Failure::wrong(format!(
            "{} runs nothing: it has no INSERT INTO a sink, no CREATE STREAMING QUERY and no SELECT",
            planned.script.origin
        )));
    }
    let mut interrupts = Interrupts::listen()?;
    let mut run = Run::new(&args, progress, planned);
    tokio::select! {
        biased;
        ended = run.until_done() => return ended,
        () = interrupts.next() => {}
    }
    run.say("stopping: the running epochs are finished first; Ctrl-C again stops at once");
    tokio::select! {
        biased;
        stopped = run.stop() => stopped,
        () = interrupts.next() => Err(Failure::interrupted()),
    }
}

/// What `auto` means here.
fn shown(wanted: Progress) -> Progress {
    match wanted {
        Progress::Auto if live::is_possible() => Progress::Live,
        Progress::Auto => Progress::Log,
        other => other,
    }
}

/// Tables of the console sink do not get into the status, nor between lines of JSON.
fn tables_go_to(progress: Progress) -> Aside {
    match progress {
        Progress::Json => Aside::Err,
        _ => Aside::Out,
    }
}

/// A pipeline on its way.
struct Run {
    planned: Planned,
    checkpoints: Checkpoints,
    /// When epochs run, if the command line says it.
    trigger: Option<Trigger>,
    board: Arc<Board>,
    progress: Progress,
    live: Option<Live>,
    running: Vec<Running>,
}

/// A started query.
struct Running {
    query: StreamingQuery,
    /// What was last logged.
    logged: Totals,
    ends_by_itself: bool,
}

impl Run {
    fn new(args: &RunArgs, progress: Progress, planned: Planned) -> Self {
        let clock = Arc::clone(planned.session.clock());
        let board = Board::new(clock, progress == Progress::Json);
        planned
            .session
            .streams()
            .add_listener(Arc::clone(&board) as _);
        let trigger = match (args.once, args.available_now) {
            (true, _) => Some(Trigger::Once),
            (_, true) => Some(Trigger::AvailableNow),
            _ => None,
        };
        Self {
            checkpoints: Checkpoints::new(args.checkpoint.clone(), &planned.script.stem),
            trigger,
            board,
            progress,
            live: (progress == Progress::Live).then(Live::new),
            running: Vec::new(),
            planned,
        }
    }

    /// Does what the statements ask for in their order, and waits until all queries have ended.
    async fn until_done(&mut self) -> Result<(), Failure> {
        let pipeline: Pipeline = self.planned.pipeline.clone();
        for step in pipeline.steps() {
            match step {
                PipelineStep::Query(number) => self.start(&pipeline.queries()[*number]).await?,
                PipelineStep::Rows(frame, line) => self.show(frame.clone(), *line).await?,
            }
        }
        self.wait_for(|_| true).await?;
        self.finish();
        Ok(())
    }

    async fn start(&mut self, query: &PipelineQuery) -> Result<(), Failure> {
        let options = StartOptions {
            checkpoint_root: self.checkpoints.root_of(query),
            trigger: self.trigger,
        };
        let trigger = options.trigger.unwrap_or(query.trigger());
        let started = query.start(&options).await;
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                let failure = match self.running.is_empty() {
                    true => Failure::of_planning(&error),
                    false => Failure::failed(error.to_string()),
                };
                let failure = failure.in_line(query.line()).of(&self.planned.script);
                // The others have begun: what they have committed stays.
                let _ = self.stop_all().await;
                return Err(failure);
            }
        };
        let checkpoint = query.checkpoint_in(options.checkpoint_root.as_deref());
        if self.progress == Progress::Log {
            let place =
                checkpoint.map_or_else(String::new, |place| format!(", checkpoint {place}"));
            self.say(&format!("{}: started{place}", query.name()));
        }
        if let Some(live) = &mut self.live {
            live.add(&started);
        }
        self.running.push(Running {
            query: started,
            logged: Totals::default(),
            ends_by_itself: matches!(trigger, Trigger::Once | Trigger::AvailableNow),
        });
        Ok(())
    }

    /// Prints the rows of a statement, after the queries above it that end by themselves.
    async fn show(&mut self, frame: DataFrame, line: u64) -> Result<(), Failure> {
        self.wait_for(|running| running.ends_by_itself).await?;
        let table = table::collect(frame).await;
        let table = table.map_err(|failure| failure.in_line(line).of(&self.planned.script))?;
        aside(|| exit::print(&table))
    }

    /// Waits for queries to end, while their status is shown. If one fails, the others are stopped.
    async fn wait_for(&mut self, which: impl Fn(&Running) -> bool) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(match self.progress {
            Progress::Live => live::EVERY,
            _ => LOG_EVERY,
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let is_open = |running: &&Running| running.query.is_active();
            let failed = self.running.iter().find_map(|running| {
                let error = running.query.exception()?;
                Some((running.query.name().unwrap_or_default().to_owned(), error))
            });
            if let Some((name, error)) = failed {
                self.report();
                // Their own errors come after the one that stopped them.
                let _ = self.stop_all().await;
                let others = match self.running.len() {
                    1 => "",
                    _ => {
                        "\nthe other queries were stopped; a next run goes on from the last commits"
                    }
                };
                let failure = Failure::failed(format!("query '{name}' failed: {error}{others}"));
                return Err(failure.of(&self.planned.script));
            }
            if !self.running.iter().filter(is_open).any(&which) {
                return Ok(());
            }
            let ends = self.running.iter().filter(is_open);
            let ends: Vec<_> = ends
                .map(|running| {
                    let query = running.query.clone();
                    async move { query.await_termination().await }.boxed()
                })
                .collect();
            tokio::select! {
                _ = ticks.tick() => {}
                _ = select_all(ends) => {}
            }
            self.report();
        }
    }

    /// Shows what has happened since the last time.
    fn report(&mut self) {
        if let Some(live) = &self.live {
            live.draw(&self.board);
        }
        if self.progress != Progress::Log {
            return;
        }
        let mut said = Vec::new();
        for running in &mut self.running {
            let name = running.query.name().unwrap_or_default();
            let now = self.board.totals(name);
            if let Some(line) = lines::since(&running.logged, &now) {
                said.push(format!("{name}: {line}"));
                running.logged = now;
            }
        }
        for line in said {
            self.say(&line);
        }
    }

    /// A line on standard error, unless nothing but JSON or nothing at all is wanted.
    fn say(&self, line: &str) {
        if matches!(self.progress, Progress::Live | Progress::Log) {
            aside(|| eprintln!("{line}"));
        }
    }

    /// Lets the running epochs finish, and tells what was done.
    async fn stop(&mut self) -> Result<(), Failure> {
        let stopped = self.stop_all().await;
        self.report();
        self.finish();
        stopped
    }

    async fn stop_all(&self) -> Result<(), Failure> {
        let stops = self.running.iter().map(|running| running.query.stop());
        let stopped = futures::future::join_all(stops).await;
        let names = self.running.iter().map(|running| running.query.name());
        for (name, stopped) in names.zip(stopped) {
            stopped.map_err(|error| {
                let name = name.unwrap_or_default();
                Failure::failed(format!("query '{name}' failed: {error}")).of(&self.planned.script)
            })?;
        }
        Ok(())
    }

    /// The last words: what each query has done.
    fn finish(&mut self) {
        self.live = None;
        for running in &self.running {
            let name = running.query.name().unwrap_or_default();
            let totals = self.board.totals(name);
            self.say(&format!("{name}: {}", lines::summary(&totals)));
        }
    }
}
