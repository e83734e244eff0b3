//! Rounds of files: read, noted, sent, acknowledged. Blocks, on a thread of its own.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use edgereel_crds::{
    directory::DirectorySource,
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_frame::{
    reasons::DropReason,
    wire::{FrameEncoder, labelled::Labelled},
};
use edgereel_kafka::reader::TopicReader;
use edgereel_runtime::{fault::Fault, plain::plain, state::ResourceState, throttle::Throttle};
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{
    Files, Paths,
    files::{Folder, NotNow, Picture, stamp},
    finder::{self, Finder, Told},
    labels::Labels,
    leave::{self, Leaving},
    ledger::{self, Id, Ledger, Sending},
    recover,
};
use crate::{
    capture::{
        CaptureEnv,
        health::{End, Words},
        metrics::CameraMetrics,
        patient::{Attempt, Fared, LOOK, Patient},
    },
    sink::private_dir::PrivateDir,
};

/// Files in a round, at most. Their bytes are bounded by the batch and the memory.
const ROUND: usize = 500;
/// A round of a slow `frameRate.target` holds the files of so many seconds.
const PACED: f64 = 0.1;
/// One line of a kind in the log in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// A file of a round.
struct Item {
    sending: Sending,
    labelled: Labelled,
}

/// What was read.
enum Read {
    /// Something to be sent.
    Item(Box<Item>),
    /// It is sent already, and was only touched since.
    Touched(Sending),
    /// It is just being sent.
    UnderWay,
}

/// One camera's folder at work.
pub struct Work {
    name: String,
    spec: DirectorySource,
    paths: Paths,
    leaving: Leaving,
    labels: Labels,
    finder: Finder,
    told: Told,
    watcher: Option<notify::RecommendedWatcher>,
    /// Files that cannot be sent as they are, with their size and time.
    bad: HashMap<PathBuf, (u64, DropReason)>,
    ledger: Ledger,
    patient: Patient<Id>,
    pace: Option<(f64, Instant)>,
    /// The largest picture, in bytes.
    largest: usize,
    encoder: FrameEncoder,
    metrics: CameraMetrics,
    files: Files,
    there: HashSet<PathBuf>,
    state: ResourceState,
    complaints: Throttle,
    sent: u64,
    _private: PrivateDir,
}

impl Work {
    /// Opens the folder's ledger, asks the topic what is not known, and connects.
    ///
    /// # Errors
    /// What the disk or Kafka refused.
    pub fn new(
        plan: &CameraPlan,
        spec: &DirectorySource,
        paths: Paths,
        env: CaptureEnv,
        limit: Option<u64>,
        files: Files,
        runtime: &Handle,
    ) -> Result<Self, Fault> {
        // It has to be there before anything is made in it.
        Folder::open(&paths.folder, None)?;
        let private = PrivateDir::of_camera(&paths.ledger, &plan.name)?;
        let mut ledger = Ledger::open(private.path())?;
        let encoder = env.keep.encoder().clone();
        let topic = plan.spec.topic.name.clone();
        let reader = TopicReader::open(&plan.connection, &env.secrets, "edgereel-folder")?;
        recover::settle(&mut ledger, &reader, &topic, encoder.source())?;
        if ledger.is_new
            && let Some(list) = &paths.processed
        {
            take_over(&mut ledger, &paths.folder, list)?;
        }
        // What is sent from here on stands behind these.
        ledger.ends(reader.bounds(&topic)?.into_iter().map(|(partition, (_, high))| (partition, high)))?;
        drop(reader);
        let words = Words { online: "the folder is read", flowing: "the folder is read, and Kafka has what was in it" };
        let patient = Patient::connect(plan, &env, limit, words, runtime)?;
        Ok(Work {
            name: plan.name.to_string(),
            leaving: Leaving::new(spec.after_sent, paths.sent.clone()),
            labels: Labels::new(spec),
            finder: Finder::new(*spec.settle, *spec.rescan),
            told: Told::default(),
            watcher: None,
            bad: HashMap::new(),
            ledger,
            patient,
            pace: plan.spec.frame_rate.target.map(|rate| (rate, Instant::now())),
            largest: plan.spec.encoding.max_frame_bytes.as_usize(),
            encoder,
            metrics: env.keep.metrics().clone(),
            files,
            there: HashSet::new(),
            state: env.state,
            complaints: Throttle::new(INTERVAL),
            sent: 0,
            spec: spec.clone(),
            paths,
            _private: private,
        })
    }

    /// Sends until it is stopped or, without `watch`, until all are sent.
    ///
    /// # Errors
    /// What the disk or Kafka refused; what was on its way is asked of the topic at the next start.
    pub fn run(mut self) -> Result<(), Fault> {
        info!(camera = self.name, folder = %self.paths.folder.display(), "reading the folder");
        let done = self.rounds();
        if let Err(fault) = &done {
            let (reason, message) = (fault.reason, fault.message.clone());
            self.patient.abandon(reason, message);
        }
        done
    }

    fn rounds(&mut self) -> Result<(), Fault> {
        loop {
            let now = Instant::now();
            if self.patient.stops() {
                return Ok(());
            }
            if self.finder.is_due(now) {
                self.look_through(now)?;
            }
            self.follow_hints()?;
            let mut items = self.read_round()?;
            while !items.is_empty() && !self.patient.stops() {
                self.send(items)?;
                // The next are read while these are on their way.
                items = self.read_round()?;
                self.land()?;
            }
            self.show();
            if !self.spec.watch && self.finder.is_empty() {
                self.complete();
                return Ok(());
            }
            let until = self.finder.wake_at(Instant::now());
            if !self.patient.stops() && self.finder.waiting() == 0 || until > Instant::now() {
                self.hear(until)?;
            }
        }
    }

    /// Looks through the whole folder.
    fn look_through(&mut self, began: Instant) -> Result<(), Fault> {
        let folder = match self.open() {
            Ok(folder) => folder,
            Err(fault) => {
                // A folder that is another one, or gone, is watched anew.
                self.watcher = None;
                self.patient.health().camera(End::Down(fault.reason, fault.message.clone()));
                return Err(fault);
            }
        };
        if self.spec.watch && self.watcher.is_none() {
            match finder::watch(&self.paths.folder, &self.told, self.patient.waker()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(e) => {
                    let every = self.spec.rescan;
                    self.complain(&format!(
                        "new files are found every {every} alone: the system does not tell of them: {e}"
                    ));
                }
            }
        }
        self.bring_back(&folder);
        let listing = folder.list()?;
        for (directory, why) in &listing.unreadable {
            self.complain(&format!("{}: the directory cannot be read: {why}", directory.display()));
        }
        self.patient.health().camera(End::Up);
        let files: Vec<PathBuf> = listing.files.into_iter().filter(|path| !self.labels.is_label(path)).collect();
        self.bad.retain(|path, _| files.binary_search(path).is_ok());
        self.there = HashSet::new();
        for path in files {
            self.consider(&folder, path, false, began)?;
        }
        self.finder.looked(began, Instant::now());
        self.show();
        Ok(())
    }

    fn open(&self) -> Result<Folder, Fault> {
        Folder::open(&self.paths.folder, self.paths.sent.as_deref())
    }

    /// What a crash left on its way out of the folder.
    fn bring_back(&self, folder: &Folder) {
        if !matches!(self.leaving, Leaving::Delete) {
            return;
        }
        for entry in walk(folder.path()) {
            if let (Some(above), Some(name)) = (entry.parent(), entry.file_name())
                && let Err(e) = leave::bring_back(above, name)
            {
                self.complain(&format!("{}: {}", entry.display(), plain(e)));
            }
        }
    }

    /// Looks at what the system told of, and at what may be at rest by now.
    fn follow_hints(&mut self) -> Result<(), Fault> {
        let hints = self.told.take();
        if hints.all {
            self.finder.look_again();
            return Ok(());
        }
        let now = Instant::now();
        let settled = self.finder.settled(now);
        if hints.closed.is_empty() && settled.is_empty() {
            return Ok(());
        }
        let folder = self.open()?;
        for path in settled {
            self.consider(&folder, path, false, now)?;
        }
        let mut labelled = false;
        for path in hints.closed {
            let Ok(relative) = path.strip_prefix(&self.paths.folder).map(Path::to_owned) else { continue };
            if self.labels.is_label(&relative) {
                labelled = true;
            } else if path.is_dir() {
                self.finder.look_again();
            } else if folder.has(&relative) {
                self.consider(&folder, relative, true, now)?;
            }
        }
        // Pictures may have waited for it.
        if labelled {
            self.look_at_unlabelled(&folder, now)?;
        }
        self.show();
        Ok(())
    }

    fn look_at_unlabelled(&mut self, folder: &Folder, now: Instant) -> Result<(), Fault> {
        let waiting = self.bad.iter().filter(|(_, (_, reason))| *reason == DropReason::no_annotation);
        let waiting: Vec<PathBuf> = waiting.map(|(path, _)| path.clone()).collect();
        waiting.into_iter().try_for_each(|path| self.consider(folder, path, true, now))
    }

    /// Decides about a file without reading it.
    fn consider(&mut self, folder: &Folder, path: PathBuf, closed: bool, now: Instant) -> Result<(), Fault> {
        let Some(meta) = folder.look(&path) else {
            self.finder.forget(&path);
            // A link to nowhere, or what is no file any more, is nothing that was to be sent.
            self.there.remove(&path);
            return Ok(());
        };
        let stamp = stamp(&meta);
        let done = self.ledger.done(ledger::key(&path)).is_some_and(|done| done.stamp == stamp);
        self.there.insert(path.clone());
        if done {
            self.finder.forget(&path);
            return self.leave(&path, stamp);
        }
        let bad = match self.bad.get(&path) {
            // Its annotation may be there by now.
            Some((of, DropReason::no_annotation)) if *of == stamp => self.labels.of(folder, &path).is_err(),
            Some((of, _)) => *of == stamp,
            None => false,
        };
        if !bad {
            self.finder.take_in(path, &meta, closed, now);
        }
        Ok(())
    }

    /// Reads the files of a round.
    fn read_round(&mut self) -> Result<Vec<Item>, Fault> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        if self.finder.waiting() == 0 {
            return Ok(items);
        }
        let folder = self.open()?;
        let most = self.pace.map_or(ROUND, |(rate, _)| ((rate * PACED) as usize).clamp(1, ROUND));
        while items.len() < most && bytes < self.patient.room() {
            let Some(path) = self.finder.take_out() else { break };
            match self.read(&folder, &path) {
                Ok(Read::Item(item)) => {
                    bytes += item.labelled.picture.len();
                    items.push(*item);
                }
                Ok(Read::Touched(sending)) => {
                    let stamp = sending.stamp;
                    self.ledger.note_done([sending])?;
                    self.leave(&path, stamp)?;
                }
                Ok(Read::UnderWay) => {}
                Err(NotNow::Changing) => self.finder.unsettled(path, Instant::now()),
                Err(NotNow::Gone) => drop(self.there.remove(&path)),
                Err(NotNow::Bad(reason, words)) => self.pass_over(&folder, path, reason, &words),
            }
        }
        Ok(items)
    }

    /// Reads one file.
    fn read(&mut self, folder: &Folder, path: &Path) -> Result<Read, NotNow> {
        let Picture { bytes, kind, stamp, time } = folder.read(path, self.largest)?;
        let id = ledger::id(path, &bytes);
        if self.ledger.is_pending(id) {
            return Ok(Read::UnderWay);
        }
        let sending = Sending { path: path.to_owned(), stamp, id };
        if self.ledger.done(ledger::key(path)).is_some_and(|done| done.is(id)) {
            return Ok(Read::Touched(sending));
        }
        let annotation = self.labels.of(folder, path);
        let annotation = annotation.map_err(|why| NotNow::Bad(DropReason::no_annotation, why.0))?;
        self.bad.remove(path);
        let labelled = Labelled {
            picture: bytes,
            kind,
            id: recover::in_words(id),
            captured_at: time,
            annotation,
            file: path.to_string_lossy().into_owned(),
        };
        Ok(Read::Item(Box::new(Item { sending, labelled })))
    }

    /// A file cannot be sent as it is. It is counted and told once, and again when it has changed.
    fn pass_over(&mut self, folder: &Folder, path: PathBuf, reason: DropReason, words: &str) {
        let stamp = folder.look(&path).map_or(0, |meta| stamp(&meta));
        if self.bad.insert(path.clone(), (stamp, reason)) == Some((stamp, reason)) {
            return;
        }
        self.metrics.refuse(reason);
        self.complain(&format!("{}: {words}", path.display()));
    }

    /// Something is to be seen to, and everything else goes on.
    fn complain(&self, words: &str) {
        self.patient.health().note(words);
        if let Some(held) = self.complaints.allow(Instant::now()) {
            warn!(camera = self.name, held_back = held, "{words}");
        }
    }

    /// Notes the files of a round, and sends them when their time has come.
    fn send(&mut self, items: Vec<Item>) -> Result<(), Fault> {
        if let Some((rate, due)) = self.pace {
            self.hear_until(due)?;
            if self.patient.stops() {
                return Ok(());
            }
            let due = due.max(Instant::now() - Duration::from_secs(1));
            self.pace = Some((rate, due + Duration::from_secs_f64(items.len() as f64 / rate)));
        }
        self.ledger.sending(items.iter().map(|item| item.sending.clone()))?;
        for Item { sending, labelled } in items {
            let encoded = self.encoder.encode_labelled(&labelled);
            loop {
                match self.patient.send(&encoded, labelled.picture.len(), sending.id)? {
                    Attempt::Away => break,
                    Attempt::Full => self.hear(Instant::now() + LOOK)?,
                    Attempt::TooLarge => break self.refused(sending.id)?,
                }
            }
        }
        Ok(())
    }

    /// Waits until everything on its way is acknowledged.
    fn land(&mut self) -> Result<(), Fault> {
        while self.patient.flying() > 0 {
            self.hear(Instant::now() + LOOK)?;
            self.show();
            if self.patient.is_over() {
                let files = self.patient.flying();
                info!(
                    camera = self.name,
                    files, "stopped before Kafka acknowledged them: the next start looks whether it did"
                );
                return Ok(());
            }
        }
        Ok(())
    }

    fn hear_until(&mut self, until: Instant) -> Result<(), Fault> {
        while !self.patient.stops() && Instant::now() < until {
            self.hear(until)?;
        }
        Ok(())
    }

    /// Waits for something to happen, at most until then, and takes in all that has.
    fn hear(&mut self, until: Instant) -> Result<(), Fault> {
        for fared in self.patient.hear(until)? {
            match fared {
                Fared::Sent { token, partition, offset } => {
                    self.sent += 1;
                    if let Some(Sending { path, stamp, .. }) = self.ledger.sent(token, partition, offset)? {
                        self.leave(&path, stamp)?;
                    }
                }
                Fared::TooLarge(token) => self.refused(token)?,
            }
        }
        Ok(())
    }

    /// The topic does not take a file.
    fn refused(&mut self, id: Id) -> Result<(), Fault> {
        if let Some(Sending { path, stamp, .. }) = self.ledger.given_up(id)? {
            self.metrics.refuse(DropReason::too_large);
            self.complain(&format!(
                "{}: it is larger than the topic takes: raise its max.message.bytes",
                path.display()
            ));
            self.bad.insert(path, (stamp, DropReason::too_large));
        }
        Ok(())
    }

    /// Does what is to be done with a file that was sent.
    fn leave(&mut self, path: &Path, stamp: u64) -> Result<(), Fault> {
        if self.leaving.keeps() {
            return Ok(());
        }
        match self.leaving.leave(&self.paths.folder, path, Some(stamp)) {
            Ok(true) => {
                self.there.remove(path);
                if let Some(sidecar) = self.labels.sidecar(path)
                    && let Err(e) = self.leaving.leave(&self.paths.folder, &sidecar, None)
                {
                    self.complain(&format!("{}: it stays beside: {}", sidecar.display(), plain(e)));
                }
                self.ledger.gone(ledger::key(path))?;
            }
            Ok(false) => {}
            Err(e) => self.complain(&format!("{}: it was sent, and stays where it is: {}", path.display(), plain(e))),
        }
        Ok(())
    }

    fn show(&self) {
        self.files.set(self.there.len() as u64, (self.finder.waiting() + self.patient.flying()) as u64);
    }

    /// Everything that there was is sent or passed over.
    fn complete(&self) {
        let (sent, bad) = (self.sent, self.bad.len());
        let mut words = format!("all files were looked at: {sent} sent in this run");
        if bad > 0 {
            let mut reasons: Vec<(&str, usize)> = vec![];
            for (_, reason) in self.bad.values() {
                match reasons.iter_mut().find(|(known, _)| *known == reason.as_str()) {
                    Some((_, count)) => *count += 1,
                    None => reasons.push((reason.as_str(), 1)),
                }
            }
            reasons.sort_unstable();
            let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            words = format!("{words}, {bad} passed over ({})", reasons.join(", "));
        }
        info!(camera = self.name, "{words}");
        self.state.set(ConditionType::Ready, ConditionStatus::True, Reason::Completed, words);
    }
}

/// Every hidden file below a directory that a crash may have left on its way.
fn walk(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (vec![], vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(_) if leave::is_leaving(&entry.file_name()) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// What another program has sent counts as sent: a name in each line, of a file that is there.
fn take_over(ledger: &mut Ledger, folder: &Path, list: &Path) -> Result<(), Fault> {
    let named = list.display();
    let text = std::fs::read(list).map_err(|e| {
        let words =
            format!("spec.source.directory.processedFiles: {named}: {}; take it out if there is none", plain(e));
        Fault::new(Reason::InvalidConfiguration, words)
    })?;
    let text = String::from_utf8_lossy(&text);
    let mut taken = vec![];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace('\\', "/");
        let name = Path::new(&line).file_name().map(PathBuf::from);
        let ways = [Some(PathBuf::from(line.trim_start_matches("./"))), name];
        let there = ways.into_iter().flatten().find_map(|path| {
            let meta = std::fs::metadata(folder.join(&path)).ok().filter(std::fs::Metadata::is_file)?;
            let path = path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path);
            Some(Sending { path, stamp: stamp(&meta), id: 0 })
        });
        taken.extend(there);
    }
    info!(list = %named, files = taken.len(), "another program's list of what was sent is taken over");
    Ok(ledger.note_done(taken)?)
}
