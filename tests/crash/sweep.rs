//! The power fails at every durable step in turn.
//!
//! One machine holds the checkpoint and the output folder. A calm run counts its durable steps (files created, written
//! and synced, names changed, folders synced, files removed); then for each of them a run is cut off there, the machine
//! comes back without what was not synced, and the query is started again until it is done. What anybody sees in the
//! folder before the restart, after it, and at rest is compared with an answer that was worked out without the engine.
//!
//! It catches a missing sync, a wrong order, a step that cannot be repeated, state that does not come back as it was.
//! It cannot catch a fault of the model of a disk ([`SimMachine`] says what it leaves out), nor what only another
//! process running at the same moment would do: `kill` and `faults` look there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use headwater::Result as Outcome;
use headwater_log::{
    STAGING,
    store::{Loss, SimMachine},
};
use std::sync::Arc;
use tempfile::TempDir;

use super::{
    check,
    input::{self, Answer, Row},
    ledger::Ledger,
    pipeline::{Honest, Query, RETAINED, Reports, Tamper, World},
    readers::OtherReaders,
    report::{say, say_places},
};

const CHECKPOINT: &str = "checkpoint";
const OUTPUT: &str = "output";
const LATE: &str = "late";

/// A query over certain files, and who tampers with it.
pub(crate) struct Case {
    pub(crate) query: Query,
    pub(crate) files: Vec<Vec<Row>>,
    pub(crate) source_options: Vec<(&'static str, &'static str)>,
    pub(crate) tamper: Box<dyn Tamper>,
    /// Epochs that stay in the log.
    pub(crate) retained: u64,
    /// What is lost at the first crash, for the step of this number.
    pub(crate) losses: fn(usize) -> Vec<Loss>,
    /// Whether to crash at the step of this number, of these.
    pub(crate) at: fn(usize, &[String]) -> bool,
    /// Whether half of the input comes only after the crash, and an epoch takes whatever is there.
    pub(crate) grows: bool,
    /// Whether late rows are wanted, in a folder of their own.
    pub(crate) late_rows: bool,
    folder: TempDir,
    answer: Answer,
}

impl Case {
    pub(crate) fn new(query: Query, files: usize) -> Self {
        Self::over(query, input::rows(files, 12, 7))
    }

    pub(crate) fn over(query: Query, files: Vec<Vec<Row>>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        input::write(folder.path(), &files);
        Self {
            query,
            answer: query.answer(&files),
            files,
            source_options: Vec::new(),
            tamper: Box::new(Honest),
            retained: RETAINED,
            losses: every_loss,
            at: |_, _| true,
            grows: false,
            late_rows: false,
            folder,
        }
    }

    /// What must come out.
    pub(crate) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Where the input lies.
    pub(crate) fn input_folder(&self) -> &Path {
        self.folder.path()
    }

    /// An input folder for one life only, if it changes in the course of it.
    fn input(&self) -> Option<TempDir> {
        if self.source_options.is_empty() {
            return None;
        }
        let copy = tempfile::tempdir().expect("a folder");
        input::write(copy.path(), &self.files[..self.files_at_first()]);
        Some(copy)
    }

    fn files_at_first(&self) -> usize {
        if self.grows {
            self.files.len() / 2
        } else {
            self.files.len()
        }
    }
}

fn every_loss(step: usize) -> Vec<Loss> {
    vec![Loss::Unsynced, Loss::Some(step as u64), Loss::Nothing]
}

/// Everything that was not synced, or some of it, in turns.
fn one_loss(step: usize) -> Vec<Loss> {
    vec![if step.is_multiple_of(2) {
        Loss::Unsynced
    } else {
        Loss::Some(step as u64)
    }]
}

/// The life of one query over several crashes.
struct Life<'a> {
    case: &'a Case,
    /// The reports of a run that was not cut off; none for that run itself.
    calm: Option<&'a Reports>,
    own_input: Option<TempDir>,
    ledger: Ledger,
    reports: Mutex<Reports>,
    machine: SimMachine,
}

impl<'a> Life<'a> {
    fn new(case: &'a Case, calm: Option<&'a Reports>) -> Self {
        Self {
            case,
            calm,
            own_input: case.input(),
            ledger: Ledger::default(),
            reports: Mutex::default(),
            machine: SimMachine::new(),
        }
    }

    /// One process, from its start to its end or the crash.
    async fn run(&self) -> Outcome<()> {
        let input = self.own_input.as_ref().unwrap_or(&self.case.folder);
        self.case.tamper.machine(&self.machine);
        let world = World {
            query: self.case.query,
            input: input.path(),
            source_options: &self.case.source_options,
            retained: self.case.retained,
            checkpoint: Arc::new(self.machine.storage(CHECKPOINT)),
            output: Arc::new(self.machine.storage(OUTPUT)),
            late: (self.case.late_rows).then(|| Arc::new(self.machine.storage(LATE)) as _),
            ledger: self.ledger.clone(),
            tamper: self.case.tamper.as_ref(),
            reports: &self.reports,
        };
        world.run().await
    }

    /// Everything until the end, if nothing cuts it off.
    async fn run_to_the_end(&self) -> Outcome<()> {
        self.run().await?;
        if self.case.grows {
            self.grow();
            self.run().await?;
        }
        Ok(())
    }

    /// The rest of the input arrives, unless it has.
    fn grow(&self) {
        if let (Some(input), true) = (&self.own_input, self.case.grows) {
            input::write(input.path(), &self.case.files);
        }
    }

    fn crash_and_reopen(&mut self, loss: Loss) {
        self.machine = self.machine.reopen(loss);
    }

    /// What anybody may see at any moment.
    fn check(&self) -> Result<Answer, String> {
        let case = self.case;
        if case.query.writes_files() {
            let seen = check::content(&self.machine.files(OUTPUT))?;
            check::only_expected(&seen, &case.answer)?;
            if case.late_rows {
                check::only_expected(&self.late_rows()?, &input::late_rows(&case.files))?;
            }
            return Ok(seen);
        }
        let published = self.ledger.published()?;
        if case.grows {
            // Which epoch takes what is not known; the last word on each key is.
            return Ok(published.into_values().flatten().collect());
        }
        for (epoch, rows) in &published {
            let expected = case.query.answer_of_epoch(&case.files, *epoch as usize);
            check::everything(rows, &expected)
                .map_err(|wrong| format!("epoch {epoch} of the ledger: {wrong}"))?;
        }
        Ok(published.into_values().next_back().unwrap_or_default())
    }

    /// What a reader of the folder of late rows sees.
    fn late_rows(&self) -> Result<Answer, String> {
        check::content_as(check::late_rows, &self.machine.files(LATE))
    }

    /// What must hold when nothing is left to do.
    fn check_at_rest(&self) -> Result<(), String> {
        let seen = self.check()?;
        let case = self.case;
        if case.query.writes_files() || case.grows {
            check::everything(&seen, &case.answer)?;
            if case.late_rows {
                check::everything(&self.late_rows()?, &input::late_rows(&case.files))
                    .map_err(|wrong| format!("late rows: {wrong}"))?;
            }
        } else {
            let epochs = self.ledger.published()?.len();
            if epochs != case.files.len() {
                return Err(format!(
                    "the ledger has {epochs} epochs of {}",
                    case.files.len()
                ));
            }
        }
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let calm = self.calm.filter(|_| !case.grows);
        for (epoch, calm) in calm.into_iter().flatten() {
            // An epoch without data that was due when the power failed waits for data, as recorded.
            let is_due = (*epoch as usize) < case.files.len();
            match reports.get(epoch) {
                Some(report) if report == calm => {}
                // The process that ran it did not live to report it.
                None if is_due || *epoch as usize == case.files.len() => {}
                found => {
                    return Err(format!(
                        "epoch {epoch} reported {found:?}, and {calm:?} where nothing was cut off"
                    ));
                }
            }
        }
        self.check_nothing_hidden()?;
        self.check_clean_input()
    }

    /// Where input is deleted when it is done, most of it is gone: the last files may go after the end.
    fn check_clean_input(&self) -> Result<(), String> {
        let (Some(input), false) = (&self.own_input, self.case.grows) else {
            return Ok(());
        };
        let left = fs::read_dir(input.path())
            .expect("the input is there")
            .count();
        match left <= 2 {
            true => Ok(()),
            false => Err(format!("{left} input files were not deleted")),
        }
    }

    /// Temporary files may stay for a day; what was prepared for readers may not.
    fn check_nothing_hidden(&self) -> Result<(), String> {
        let mut files = self.machine.files(OUTPUT);
        files.extend(self.machine.files(LATE));
        let forgotten = files
            .keys()
            .find(|path| path.starts_with(STAGING) && !path.contains("/tmp-"));
        match forgotten {
            None => Ok(()),
            Some(path) => Err(format!(
                "'{path}' was prepared and never published or discarded"
            )),
        }
    }
}

/// What a sweep went through.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// The steps crashed at, by name without numbers and ids, with how many there are.
    pub(crate) steps: BTreeMap<String, usize>,
    /// Lives of a query with at least one crash.
    pub(crate) lives: usize,
}

impl Swept {
    fn report(&self, what: &str) {
        let steps: usize = self.steps.values().sum();
        let heading = format!(
            "{what}: crashed at each of {steps} steps, {} lives:",
            self.lives
        );
        say_places(&heading, &self.steps);
    }
}

/// A step's name without numbers and ids.
pub(crate) fn kind_of(step: &str) -> String {
    let is_id = |piece: &str| {
        piece.len() >= 5 && piece.bytes().all(|byte| byte.is_ascii_hexdigit())
            || !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut kind = String::new();
    for piece in step.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric());
        let (name, end) = piece.split_at(end.unwrap_or(piece.len()));
        kind.push_str(if is_id(name) { "*" } else { name });
        kind.push_str(end);
    }
    while kind.contains("*-*") {
        kind = kind.replace("*-*", "*");
    }
    kind
}

/// Does every job on a thread with a runtime of its own, so that a job's steps keep their order; the first that goes
/// wrong ends all.
fn on_all_processors<J: Sync>(
    jobs: &[J],
    work: impl AsyncFn(&J) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let wrong: Mutex<Option<String>> = Mutex::new(None);
    let lock = || wrong.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
                    if let Err(error) = runtime.block_on(work(job)) {
                        lock().get_or_insert(error);
                        next.store(jobs.len(), Relaxed);
                    }
                }
            });
        }
    });
    let wrong = lock().take();
    wrong.map_or(Ok(()), Err)
}

/// Crashes at every step in turn; what goes wrong first is the error.
pub(crate) fn sweep(case: &Case) -> Result<Swept, String> {
    let (calm, steps) = calm_run(case)?;
    let jobs: Vec<(usize, Loss)> = (0..steps.len())
        .filter(|step| (case.at)(*step, &steps))
        .flat_map(|step| {
            (case.losses)(step)
                .into_iter()
                .map(move |loss| (step, loss))
        })
        .collect();
    let swept = Mutex::new((BTreeSet::new(), Swept::default()));
    on_all_processors(&jobs, async |&(step, loss)| {
        let mut life = Life::new(case, Some(&calm));
        life.machine.crash_at(step);
        let outcome = life.run_to_the_end().await;
        let Some(crash) = life.machine.crashed() else {
            // Background work was a step shorter this time.
            return life.check_at_rest();
        };
        {
            let mut swept = swept.lock().unwrap_or_else(PoisonError::into_inner);
            let (known, swept) = &mut *swept;
            let name = crash
                .split_once(": ")
                .map_or(crash.as_str(), |(_, name)| name);
            if known.insert(step) {
                *swept.steps.entry(kind_of(name)).or_default() += 1;
            }
            swept.lives += 1;
        }
        let explain = |wrong: String| format!("{crash}, {loss:?} ({outcome:?}): {wrong}");
        life.check().map_err(explain)?;
        life.crash_and_reopen(loss);
        life.check()
            .map_err(|wrong| explain(format!("before the restart: {wrong}")))?;
        life.grow();
        let again = life.run().await;
        again.map_err(|error| explain(format!("the restart fails: {error}")))?;
        life.check_at_rest().map_err(explain)
    })?;
    Ok(swept.into_inner().unwrap_or_else(PoisonError::into_inner).1)
}

/// A run that is not cut off: its reports and its steps.
fn calm_run(case: &Case) -> Result<(Reports, Vec<String>), String> {
    let calm = Mutex::new((Reports::new(), Vec::new()));
    on_all_processors(&[()], async |()| {
        let life = Life::new(case, None);
        let outcome = life.run_to_the_end().await;
        outcome.map_err(|error| format!("nothing was cut off, and yet: {error}"))?;
        life.check_at_rest()?;
        let reports = life
            .reports
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        *calm.lock().unwrap_or_else(PoisonError::into_inner) = (reports, life.machine.steps());
        Ok(())
    })?;
    Ok(calm.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Crashes once at every `stride`th step, and then at every step of what follows until it is `depth` steps long: in
/// the middle of recovery. Gives the number of pairs.
fn sweep_recovery(case: &Case, stride: usize, depth: usize) -> Result<usize, String> {
    let (calm, steps) = calm_run(case)?;
    let jobs: Vec<(usize, usize)> = (0..steps.len())
        .step_by(stride)
        .flat_map(|first| (0..depth).map(move |second| (first, second)))
        .collect();
    on_all_processors(&jobs, async |&(first, second)| {
        let mut life = Life::new(case, Some(&calm));
        life.machine.crash_at(first);
        let _ = life.run().await;
        life.crash_and_reopen(Loss::Some((first * depth + second) as u64));
        life.machine.crash_at(second);
        let _ = life.run().await;
        let explain = |wrong| format!("steps {first} and, after the restart, {second}: {wrong}");
        life.check().map_err(explain)?;
        life.crash_and_reopen(Loss::Some((second * stride + first) as u64));
        life.check().map_err(explain)?;
        let again = life.run().await;
        again.map_err(|error| explain(format!("the second restart fails: {error}")))?;
        life.check_at_rest().map_err(explain)
    })?;
    Ok(jobs.len())
}

fn assert_survives(what: &str, case: &Case) {
    match sweep(case) {
        Ok(swept) => swept.report(what),
        Err(wrong) => panic!("{what}: {wrong}"),
    }
}

#[test]
fn what_is_expected_is_what_comes_out_where_nothing_is_cut_off() {
    for seed in 0..10 {
        for query in [
            Query::Stateless,
            Query::Windows,
            Query::Sliding,
            Query::Join,
            Query::Sessions,
            Query::Dedup,
            Query::Processor,
            Query::Update,
            Query::Complete,
        ] {
            let case = Case::over(query, input::rows(12, 50, seed));
            if let Err(wrong) = calm_run(&case) {
                panic!("{query:?} with seed {seed}: {wrong}");
            }
        }
    }
}

#[test]
fn windows_into_parquet_files_appear_once_wherever_the_power_fails() {
    assert_survives("windows into Parquet files", &Case::new(Query::Windows, 5));
}

#[test]
fn windows_that_overlap_come_out_once_and_whole_wherever_the_power_fails() {
    let mut case = Case::new(Query::Sliding, 4);
    case.losses = one_loss;
    assert_survives("windows that overlap", &case);
}

#[test]
fn pairs_and_rows_without_one_are_counted_once_wherever_the_power_fails() {
    let mut case = Case::new(Query::Join, 2);
    case.losses = one_loss;
    assert_survives("a join and windows above it", &case);
}

#[test]
fn sessions_that_grow_and_merge_come_out_once_wherever_the_power_fails() {
    let mut case = Case::new(Query::Sessions, 3);
    case.losses = one_loss;
    assert_survives("sessions", &case);
}

#[test]
fn the_first_row_of_a_key_stays_the_first_wherever_the_power_fails() {
    let mut case = Case::new(Query::Dedup, 3);
    case.losses = one_loss;
    assert_survives("duplicates dropped within the watermark", &case);
}

#[test]
fn what_a_processor_keeps_and_its_timers_survive_wherever_the_power_fails() {
    let mut case = Case::new(Query::Processor, 3);
    case.losses = one_loss;
    assert_survives("windows by a processor", &case);
}

#[test]
fn rows_into_parquet_files_appear_once_wherever_the_power_fails() {
    let mut case = Case::new(Query::Stateless, 2);
    case.losses = one_loss;
    assert_survives("rows into Parquet files", &case);
}

#[test]
fn totals_after_each_epoch_are_those_of_its_input_wherever_the_power_fails() {
    let mut case = Case::new(Query::Complete, 10);
    case.losses = one_loss;
    assert_survives("complete mode", &case);
}

#[test]
fn state_files_are_merged_without_harm_wherever_the_power_fails() {
    let mut case = Case::new(Query::Complete, 36);
    case.losses = one_loss;
    case.at = |step, steps| {
        let around = step.saturating_sub(30)..steps.len().min(step + 15);
        steps[around].iter().any(|step| step.contains(".merged"))
    };
    let swept = sweep(&case).unwrap_or_else(|wrong| panic!("{wrong}"));
    swept.report("complete mode, later");
    let is_merged = |step: &String| step.contains(".merged");
    assert!(swept.steps.keys().any(is_merged), "{swept:?}");
}

#[test]
fn touched_totals_reach_a_service_once_an_epoch_wherever_the_power_fails() {
    let mut case = Case::new(Query::Update, 3);
    case.losses = one_loss;
    assert_survives("update mode", &case);
}

#[test]
fn late_rows_and_windows_are_each_there_once_wherever_the_power_fails() {
    let mut case = Case::over(Query::Windows, input::rows(8, 40, 5));
    case.late_rows = true;
    case.losses = one_loss;
    let late = input::late_rows(&case.files).len();
    assert!(late > 3, "{late}");
    assert_survives("windows and late rows", &case);
}

#[test]
fn a_log_that_keeps_one_epoch_is_enough_wherever_the_power_fails() {
    let mut case = Case::new(Query::Windows, 2);
    case.retained = 1;
    case.losses = one_loss;
    assert_survives("one epoch retained", &case);
}

#[test]
fn input_that_is_deleted_when_it_is_done_is_not_lost_wherever_the_power_fails() {
    let mut case = Case::new(Query::Windows, 2);
    case.source_options = vec![("cleanSource", "delete")];
    case.losses = one_loss;
    assert_survives("deleted input", &case);
}

#[test]
fn input_that_is_deleted_before_it_is_listed_is_not_lost_wherever_the_power_fails() {
    let mut case = Case::new(Query::Windows, 6);
    // Four increments are listed at a time.
    case.retained = 8;
    case.source_options = vec![("cleanSource", "delete")];
    case.losses = one_loss;
    assert_survives("deleted input, listed later", &case);
}

#[test]
fn input_that_arrives_after_the_crash_goes_to_other_epochs_wherever_the_power_fails() {
    for query in [Query::Stateless, Query::Update] {
        let mut case = growing(query);
        case.losses = one_loss;
        assert_survives(&format!("growing input, {query:?}"), &case);
    }
}

/// A query whose input has doubled when it is started again.
pub(crate) fn growing(query: Query) -> Case {
    let mut case = Case::new(query, 4);
    case.source_options = vec![("maxFilesPerTrigger", "1000")];
    case.grows = true;
    case
}

#[test]
fn a_second_crash_while_recovering_changes_nothing() {
    let pairs = sweep_recovery(&Case::new(Query::Windows, 2), 7, 12);
    let pairs = pairs.expect("each pair ends well");
    say(&format!(
        "{pairs} pairs of crashes, the second in the middle of recovery"
    ));
}

#[test]
fn readers_that_know_nothing_of_us_see_no_row_twice_wherever_the_power_fails() {
    let case = Case::new(Query::Windows, 2);
    let shelf = tempfile::tempdir().expect("a folder");
    let folders = states_of_the_folder(&case, shelf.path()).expect("the runs can be cut off");
    let mut others = OtherReaders::start();
    for folder in &folders {
        others.see_nothing_twice(folder.to_str().expect("a path in UTF-8"), &["start", "key"]);
    }
    let states = folders.len();
    say(&format!(
        "{states} different states of the output folder, read by DuckDB, Polars and pyarrow"
    ));
    assert!(folders.len() > 3, "{folders:?}");
}

/// Writes the different states in which a crash leaves the output folder to real folders below `shelf`.
fn states_of_the_folder(case: &Case, shelf: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let (_, steps) = calm_run(case)?;
    let jobs: Vec<usize> = (0..steps.len()).collect();
    let known = Mutex::new(BTreeSet::new());
    on_all_processors(&jobs, async |&step| {
        let life = Life::new(case, None);
        life.machine.crash_at(step);
        let _ = life.run().await;
        let files = life.machine.reopen(Loss::Unsynced).files(OUTPUT);
        let kinds: Vec<String> = files
            .iter()
            .map(|(path, bytes)| format!("{} {}", kind_of(path), bytes.len()))
            .collect();
        if !known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kinds)
        {
            return Ok(());
        }
        for (path, bytes) in files {
            let path = shelf.join(step.to_string()).join(path);
            let folder = path.parent().expect("it is below the shelf");
            fs::create_dir_all(folder).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        Ok(())
    })?;
    let entries = fs::read_dir(shelf).expect("the shelf is there");
    Ok(entries
        .map(|entry| entry.expect("an entry").path())
        .collect())
}
