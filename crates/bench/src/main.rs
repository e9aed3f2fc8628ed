//! `headwater-bench`: writes the benchmark's data and measures who answers its queries how fast.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use headwater_bench::{
    batch,
    compare::{self, CompareArguments},
    curves::{self, part::Part},
    data::{self, DataSize},
    kafka::{self, KafkaArguments},
    nexmark,
    plot::{
        self, PlotArguments,
        figures::{self, FiguresArguments},
    },
    queries,
    state_size::{self, Operator},
    tables::Table,
    verdict,
};
use headwater_core::{Error, Result, SystemClock};

#[derive(Parser)]
#[command(version, about = "Nexmark over headwater")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write Nexmark events as Parquet files, a folder a table.
    Data {
        /// The folder to create.
        #[arg(long)]
        out: PathBuf,
        /// Events over all tables: of 50, 46 are bids, 3 auctions and 1 a person.
        #[arg(long)]
        events: u64,
        /// Files of each table.
        #[arg(long)]
        files: u64,
    },
    /// Let DataFusion answer over all files as one batch: the limit of what a stream can reach.
    Batch {
        /// A folder written by `data`.
        #[arg(long)]
        data: PathBuf,
        /// The queries to run, separated by commas: `queries` lists them, `suite` is q0 to q22; without it, the first eight.
        #[arg(long, value_delimiter = ',')]
        query: Vec<String>,
        /// Runs of each query.
        #[arg(long, default_value_t = 1)]
        repeat: u32,
    },
    /// List the queries, what they ask, and how they differ from those of the public suite.
    Queries,
    /// Let headwater, DataFusion's batch and Spark answer in turns, and print who is how fast beside the targets.
    Compare(CompareArguments),
    /// Draw measurements: bars of what `compare` measured, and curves.
    Plot(PlotArguments),
    /// Draw the figures of the documentation: a file for each picture that measurements make.
    Figures(FiguresArguments),
    /// Measure an epoch of 1,000 rows beside states of different sizes.
    StateSize {
        /// Keys in state, separated by commas; multiples of 2,000.
        #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
        keys: Vec<i64>,
        /// Epochs to measure.
        #[arg(long, default_value_t = 200)]
        epochs: i64,
    },
    /// Measure how costs grow, each curve beside its target: JSON lines, then a table.
    Curve {
        /// The curves, separated by commas; all if none is given: epoch-keys, memory, restore, durability, listing,
        /// threads, startup.
        #[arg(value_delimiter = ',')]
        name: Vec<String>,
        /// Tiny sizes, to see that everything runs.
        #[arg(long)]
        smoke: bool,
        /// A folder written by `data` whose files hold 460,000 bids each; made if not given.
        #[arg(long)]
        data: Option<PathBuf>,
        /// The `headwater` command; the one beside this program if not given.
        #[arg(long)]
        headwater: Option<PathBuf>,
    },
    /// Measure a part of a curve in this process; `curve` starts it.
    #[command(hide = true)]
    CurvePart {
        /// What to measure.
        request: String,
    },
    /// Measure headwater over Kafka: throughput beside Spark on the same broker, and the way of single messages.
    Kafka(KafkaArguments),
    /// Make one run over a topic in this process; `kafka` starts it.
    #[command(hide = true)]
    KafkaPart {
        /// The run.
        request: String,
    },
    /// Let headwater answer in epochs, exactly once, with a checkpoint on the local disk.
    Nexmark {
        /// A folder written by `data`.
        #[arg(long)]
        data: PathBuf,
        /// The queries to run, separated by commas: `queries` lists them, `suite` is q0 to q22; without it, the first eight.
        #[arg(long, value_delimiter = ',')]
        query: Vec<String>,
        /// Files of each table that an epoch reads.
        #[arg(long, default_value_t = 4)]
        files_per_trigger: u32,
        /// Runs of each query.
        #[arg(long, default_value_t = 1)]
        repeat: u32,
    },
}

fn main() -> ExitCode {
    headwater_allocator::keep_freed_memory();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Data { out, events, files } => {
            let counts = data::write(&out, DataSize { events, files })?;
            for (table, rows) in Table::ALL.into_iter().zip(counts) {
                print_line(&format!("{table}: {rows} rows in {files} files"));
            }
            Ok(())
        }
        Command::Batch {
            data,
            query,
            repeat,
        } => runtime()?.block_on(async {
            let clock = SystemClock::default();
            for query in queries::select(&query)? {
                for _ in 0..repeat {
                    print_line(&batch::run(&data, &query, &clock).await?.to_line()?);
                }
            }
            Ok(())
        }),
        Command::Queries => {
            print_line(&queries::list());
            Ok(())
        }
        Command::Compare(arguments) => compare::run(&arguments, &mut |line| print_line(line)),
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Figures(arguments) => {
            for file in figures::run(&arguments)? {
                print_line(&file.display().to_string());
            }
            Ok(())
        }
        Command::StateSize { keys, epochs } => runtime()?.block_on(async {
            let clock = SystemClock::default();
            for operator in Operator::ALL {
                for cost in state_size::run(operator, &keys, epochs, &clock).await? {
                    print_line(&serde_json::to_string(&cost)?);
                }
            }
            Ok(())
        }),
        Command::Curve {
            name,
            smoke,
            data,
            headwater,
        } => {
            let options = curves::Options {
                smoke,
                data,
                headwater,
            };
            let clock = SystemClock::default();
            let mut findings = Vec::new();
            for curve in curves::select(&name)? {
                let measured = curve.measure(&options, &clock)?;
                for point in &measured.points {
                    print_line(&serde_json::to_string(point)?);
                }
                findings.extend(measured.findings.into_iter().map(|it| (curve.name, it)));
            }
            print_line(&verdict::table(
                "curve",
                findings.iter().map(|(name, it)| (*name, it)),
            ));
            Ok(())
        }
        Command::CurvePart { request } => {
            print_line(&Part::answer(&request, &SystemClock::default())?);
            Ok(())
        }
        Command::Kafka(arguments) => {
            print_line(&kafka::run(&arguments, &SystemClock::default())?);
            Ok(())
        }
        Command::KafkaPart { request } => {
            print_line(&kafka::stream::Run::answer(
                &request,
                &SystemClock::default(),
            )?);
            Ok(())
        }
        Command::Nexmark {
            data,
            query,
            files_per_trigger,
            repeat,
        } => runtime()?.block_on(async {
            let clock = SystemClock::default();
            for query in queries::select(&query)? {
                for _ in 0..repeat {
                    let measured = nexmark::run(&data, &query, files_per_trigger, &clock).await;
                    let measured =
                        measured.map_err(|e| e.context(format!("query {}", query.name)))?;
                    print_line(&measured.to_line()?);
                }
            }
            Ok(())
        }),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::unavailable("cannot start the worker threads").with_source(e))
}

#[expect(
    clippy::print_stdout,
    reason = "a command's result goes to standard output"
)]
fn print_line(line: &str) {
    println!("{line}");
}
