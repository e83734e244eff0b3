//! Sends the frames of files, each once, as fast as Kafka takes them or as the videos go. Blocks, on a thread of its own.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::{
    file::{FilePace, FileSource, FrameTime},
    plan::CameraPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_frame::{
    jpeg::{EoiHabit, JpegInfo},
    picture::Kind,
    reasons::DropReason,
    wire::{FrameEncoder, labelled::Labelled},
};
use edgereel_kafka::reader::TopicReader;
use edgereel_runtime::{fault::Fault, plain::plain, state::ResourceState, throttle::Throttle};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{
    Kept, Places,
    listing::{self, Sought, Unit},
    progress::{FrameId, Progress, in_words},
    reader::{About, Reader, Said, Settings},
    sent::Sent,
    settings,
    thread::{Heard, Hung, Shared, Todo, read_all},
};
use crate::{
    capture::{
        CaptureEnv,
        health::{End, Words},
        metrics::CameraMetrics,
        patient::{Attempt, Fared, LOOK, Patient},
    },
    folder::{Files, files::NotNow, ledger::Id, recover::Sought as SoughtInTopic},
    sink::private_dir::PrivateDir,
    source::Part,
};

/// Frames that were read and not taken yet; so many are noted at once, too.
const AHEAD: usize = 8;
/// How far a file has come is noted so often.
const NOTE: Duration = Duration::from_secs(1);
/// What is heard of Kafka and of a stop, while the disk is waited for.
const PULSE: Duration = Duration::from_millis(50);
/// One line of a kind in the log in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// A file that changes while it is read is begun anew so often, and then passed over.
const TRIES: u32 = 3;

/// A file whose frames are on their way.
struct Begun {
    about: Arc<About>,
    /// The number behind the last frame that was sent, or is not to be.
    next: u64,
    /// It was read to its end.
    ended: bool,
    habit: EoiHabit,
}

/// A frame that is to be sent.
struct Item {
    frame: FrameId,
    time: f64,
    labelled: Labelled,
}

/// What is to be done, in the order in which it was read.
enum Step {
    /// A frame is passed, and sent if it is wanted.
    Frame(FrameId, Option<Box<Item>>),
    /// A file has ended.
    End(Arc<About>, Result<(), NotNow>),
}

/// What there is to say of a run.
#[derive(Default)]
struct Counts {
    files: u64,
    frames: u64,
    before: u64,
    bad: BTreeMap<&'static str, u64>,
}

/// A camera's files at work.
pub struct Work {
    name: String,
    spec: FileSource,
    stall: Duration,
    places: Places,
    settings: Settings,
    progress: Shared,
    patient: Patient<FrameId>,
    begun: HashMap<Id, Begun>,
    sent: Sent,
    noted: Instant,
    /// When the file that is shown began, at its own pace.
    clock: Option<(Id, Instant)>,
    encoder: FrameEncoder,
    largest: usize,
    metrics: CameraMetrics,
    files: Files,
    hung: Hung,
    /// Files that there are, and that are to be looked at.
    there: u64,
    left: u64,
    counts: Counts,
    state: ResourceState,
    complaints: Throttle,
    _private: PrivateDir,
}

impl Work {
    /// Opens what is known of the files, asks the topic what is not, and connects.
    ///
    /// # Errors
    /// What the disk or Kafka refused.
    pub fn new(
        plan: &CameraPlan,
        spec: &FileSource,
        places: Places,
        env: CaptureEnv,
        limit: Option<u64>,
        kept: Kept,
        runtime: &Handle,
    ) -> Result<Self, Fault> {
        // It has to be there before anything is made in it.
        places.open()?;
        let private = PrivateDir::of_camera(&places.ledger, &plan.name)?;
        let mut progress = Progress::open(private.path())?;
        let encoder = env.keep.encoder().clone();
        let topic = plan.spec.topic.name.clone();
        let reader = TopicReader::open(&plan.connection, &env.secrets, "edgereel-file")?;
        let (mut pending, floor) = (progress.pending(), progress.floor().clone());
        let sought =
            SoughtInTopic { topic: &topic, source: encoder.source(), floor: &floor, written: progress.written() };
        let found = sought.find(&mut pending, &reader)?;
        progress.found(found.into_iter().map(|(frame, ..)| frame));
        // What is sent from here on stands behind these.
        let ends: BTreeMap<i32, i64> =
            reader.bounds(&topic)?.into_iter().map(|(partition, (_, high))| (partition, high)).collect();
        progress.ends(ends.clone())?;
        drop(reader);
        let words =
            Words { online: "the files are read", flowing: "the files are read, and Kafka has what was in them" };
        let patient = Patient::connect(plan, &env, limit, words, runtime)?;
        Ok(Work {
            name: plan.name.to_string(),
            stall: *plan.spec.watchdog.stall,
            settings: settings(spec, &plan.spec),
            progress: Shared::new(progress),
            patient,
            begun: HashMap::new(),
            sent: Sent::new(ends),
            noted: Instant::now(),
            clock: None,
            encoder,
            largest: plan.spec.encoding.max_frame_bytes.as_usize(),
            metrics: env.keep.metrics().clone(),
            files: kept.files,
            hung: kept.hung,
            there: 0,
            left: 0,
            counts: Counts::default(),
            state: env.state,
            complaints: Throttle::new(INTERVAL),
            spec: spec.clone(),
            places,
            _private: private,
        })
    }

    /// Sends until it is stopped, or all is sent.
    ///
    /// # Errors
    /// What the disk or Kafka refused; what was on its way is asked of the topic at the next start.
    pub fn run(mut self) -> Result<(), Fault> {
        info!(camera = self.name, folder = %self.places.folder.display(), "reading the files");
        let done = self.files();
        if let Err(fault) = &done {
            self.patient.health().camera(End::Down(fault.reason, fault.message.clone()));
            self.patient.abandon(fault.reason, fault.message.clone());
        }
        done
    }

    fn files(&mut self) -> Result<(), Fault> {
        while self.hung.hangs() {
            let words = format!("{}: a read hangs: the disk does not answer", self.places.folder.display());
            self.patient.health().camera(End::Down(Reason::StorageError, words));
            self.hear(Instant::now() + LOOK)?;
            if self.patient.stops() {
                return Ok(());
            }
        }
        self.patient.health().camera(End::Up);
        let mut tries: HashMap<PathBuf, u32> = HashMap::new();
        let mut next = Some(Todo::All(self.places.sought.clone()));
        while let Some(todo) = next.take().filter(|_| !self.patient.stops()) {
            let mut units = vec![];
            for path in self.read(todo)? {
                let tries = tries.entry(path.clone()).or_default();
                *tries += 1;
                match *tries < TRIES {
                    true => units.push(Unit::of(path)),
                    false => {
                        self.pass_over(&path, DropReason::unreadable, "it changes again and again while it is read")
                    }
                }
            }
            next = (!units.is_empty()).then_some(Todo::These(units));
        }
        self.land()?;
        if !self.patient.stops() {
            // What else was begun is not there any more, or is another file by now.
            self.progress.lock().forget_the_rest()?;
            self.complete();
        }
        Ok(())
    }

    /// Reads all of these, and gives those that were changed meanwhile.
    fn read(&mut self, todo: Todo) -> Result<Vec<PathBuf>, Fault> {
        let given_up = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            folder: self.places.open()?,
            settings: self.settings.clone(),
            known: self.progress.clone(),
            given_up: given_up.clone(),
        };
        let (say, said) = sync_channel(AHEAD);
        let settle = *self.spec.settle;
        let read = move || drop(read_all(&reader, todo, settle, &say));
        let thread = thread::Builder::new().name("videos-read".into()).spawn(read);
        let thread =
            thread.map_err(|e| Fault::new(Reason::InternalError, format!("no thread to read with: {}", plain(e))))?;
        let outcome = self.take_all(&said);
        given_up.store(true, Ordering::Relaxed);
        drop(said);
        // It ends by itself, unless it hangs.
        self.hung.leave(thread);
        outcome
    }

    fn take_all(&mut self, said: &Receiver<Heard>) -> Result<Vec<PathBuf>, Fault> {
        let (mut changing, mut quiet, mut over) = (vec![], Instant::now(), false);
        while !self.patient.stops() && !over {
            let mut all = vec![];
            match said.recv_timeout(PULSE) {
                Ok(first) => all.push(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let words = "a fault of ours: the thread that reads has panicked (the log has its words)";
                    return Err(Fault::new(Reason::InternalError, words));
                }
            }
            all.extend(said.try_iter().take(2 * AHEAD));
            over = all.iter().any(|heard| matches!(heard, Heard::Over));
            if all.is_empty() {
                self.hear(Instant::now())?;
                if quiet.elapsed() >= self.stall {
                    let words = format!(
                        "{}: nothing could be read for {:?}: the disk does not answer",
                        self.places.folder.display(),
                        self.stall
                    );
                    return Err(Fault::new(Reason::StorageError, words));
                }
                continue;
            }
            self.take(all, &mut changing)?;
            quiet = Instant::now();
        }
        Ok(changing)
    }

    fn take(&mut self, all: Vec<Heard>, changing: &mut Vec<PathBuf>) -> Result<(), Fault> {
        let mut steps = vec![];
        for heard in all {
            let said = match heard {
                Heard::Said(said) => said,
                Heard::Waits | Heard::Over => continue,
                Heard::Fault(fault) => return Err(fault),
                Heard::Found { files, unreadable } => {
                    (self.there, self.left) = (files, files);
                    for (directory, why) in unreadable {
                        self.complain(&format!("{}: the directory cannot be read: {why}", directory.display()));
                    }
                    continue;
                }
            };
            match said {
                Said::Begun(about) => self.begin(about),
                Said::Frame(about, place, part) => {
                    let item = self.frame(&about, place.number, place.time, part);
                    steps.push(Step::Frame((about.id, place.number), item.map(Box::new)));
                }
                Said::Ended(about, how) => steps.push(Step::End(about, how)),
                Said::Known(_) => self.passed_by(),
                Said::Touched(path, stamp, id) => {
                    self.progress.lock().done(&path, stamp, id)?;
                    self.passed_by();
                }
                Said::Passed(path, NotNow::Bad(reason, words)) => {
                    self.left = self.left.saturating_sub(1);
                    self.pass_over(&path, reason, &words);
                }
                Said::Passed(path, NotNow::Changing) => changing.push(path),
                Said::Passed(_, NotNow::Gone) => self.left = self.left.saturating_sub(1),
                Said::Failed(path, words) => {
                    return Err(Fault::new(Reason::StorageError, format!("{}: {words}", path.display())));
                }
            }
        }
        let sending = steps.iter().filter_map(|step| match step {
            Step::Frame(frame, Some(_)) => Some(*frame),
            Step::Frame(_, None) | Step::End(..) => None,
        });
        self.progress.lock().sending(sending)?;
        for step in steps {
            match step {
                Step::Frame((id, number), item) => {
                    if let Some(item) = item
                        && !self.send(*item)?
                    {
                        // It is to stop: neither this nor what is behind it was sent.
                        return Ok(());
                    }
                    if let Some(begun) = self.begun.get_mut(&id) {
                        begun.next = begun.next.max(number + 1);
                    }
                }
                Step::End(about, how) => self.end(&about, how, changing)?,
            }
        }
        self.note(false)
    }

    fn begin(&mut self, about: Arc<About>) {
        let from = self.progress.lock().next(about.id);
        self.counts.files += 1;
        self.begun.insert(about.id, Begun { about, next: from, ended: false, habit: EoiHabit::default() });
    }

    fn passed_by(&mut self) {
        self.counts.before += 1;
        self.left = self.left.saturating_sub(1);
        self.show();
    }

    /// What is to be sent of a frame.
    fn frame(&mut self, about: &About, number: u64, time: f64, part: Part) -> Option<Item> {
        let begun = self.begun.get_mut(&about.id)?;
        let frame = (about.id, number);
        let (picture, JpegInfo { width, height, .. }) = match part {
            Part::Picture(jpeg) => match mended(&mut begun.habit, jpeg, &self.metrics) {
                Ok(picture) => picture,
                Err(reason) => return self.refuse(reason),
            },
            Part::NotWanted => return self.refuse(DropReason::pacing),
            Part::Skipped(reason) | Part::Bad(reason, _) => return self.refuse(reason),
            Part::TooLarge(_) => return self.refuse(DropReason::too_large),
            Part::Beside => return None,
        };
        if self.progress.lock().is_sent(frame) {
            return None;
        }
        if picture.len() > self.largest {
            let words = format!("{} bytes are more than `encoding.maxFrameBytes`", picture.len());
            self.complain(&format!("{}: frame {number}: {words}", about.path.display()));
            return self.refuse(DropReason::too_large);
        }
        self.metrics.width.set(i64::from(width));
        self.metrics.height.set(i64::from(height));
        let recorded = SignedDuration::try_from_secs_f64(time).ok().and_then(|time| about.began.checked_add(time).ok());
        let labelled = Labelled {
            picture,
            kind: Kind::Jpeg,
            id: in_words(frame),
            captured_at: match self.spec.frame_time {
                FrameTime::Recorded => recorded.unwrap_or(about.began),
                FrameTime::Sent => Timestamp::now(),
            },
            annotation: None,
            file: about.path.to_string_lossy().into_owned(),
        };
        Some(Item { frame, time, labelled })
    }

    fn refuse<T>(&self, reason: DropReason) -> Option<T> {
        self.metrics.refuse(reason);
        None
    }

    /// Sends a frame when there is room, and its time has come. Whether it did: not when it is to stop.
    fn send(&mut self, Item { frame, time, mut labelled }: Item) -> Result<bool, Fault> {
        if self.spec.pace == FilePace::RealTime {
            let time = Duration::try_from_secs_f64(time).unwrap_or_default();
            // The pictures of a sequence are files that go on from each other.
            let (of, now) = (self.clock_of(frame.0), Instant::now());
            let begin = match self.clock {
                Some((id, begin)) if id == of => begin,
                _ => now.checked_sub(time).unwrap_or(now),
            };
            self.clock = Some((of, begin));
            while !self.patient.stops() && Instant::now() < begin + time {
                self.hear(begin + time)?;
            }
        }
        if self.spec.frame_time == FrameTime::Sent {
            labelled.captured_at = Timestamp::now();
        }
        let encoded = self.encoder.encode_labelled(&labelled);
        loop {
            if self.patient.stops() {
                return Ok(false);
            }
            if self.patient.is_full() {
                self.hear(Instant::now() + LOOK)?;
                continue;
            }
            match self.patient.send(&encoded, labelled.picture.len(), frame)? {
                Attempt::Away => break,
                Attempt::Full => self.hear(Instant::now() + LOOK)?,
                Attempt::TooLarge => {
                    self.too_large(frame);
                    return Ok(true);
                }
            }
        }
        self.sent.push(frame);
        self.hear(Instant::now())?;
        Ok(true)
    }

    /// What stands for the clock of a file: a sequence has one for all of its pictures.
    fn clock_of(&self, id: Id) -> Id {
        let path = self.begun.get(&id).map(|begun| &begun.about.path);
        let is_picture = path.is_some_and(|path| listing::is_picture(path));
        if is_picture { 0 } else { id }
    }

    /// A file was read to its end, or cannot be read on.
    fn end(&mut self, about: &Arc<About>, how: Result<(), NotNow>, changing: &mut Vec<PathBuf>) -> Result<(), Fault> {
        match how {
            Err(NotNow::Changing | NotNow::Gone) => {
                // What was sent of it is sent; with its other bytes it is another file.
                self.begun.remove(&about.id);
                changing.push(about.path.clone());
                return Ok(());
            }
            Err(NotNow::Bad(reason, words)) => self.pass_over(&about.path, reason, &words),
            Ok(()) => {}
        }
        self.left = self.left.saturating_sub(1);
        if let Some(begun) = self.begun.get_mut(&about.id) {
            begun.ended = true;
        }
        self.finish(about.id)
    }

    /// Notes that a file is done, once all of it is acknowledged.
    fn finish(&mut self, id: Id) -> Result<(), Fault> {
        if let Some(begun) = self.begun.get(&id).filter(|begun| begun.ended && !self.sent.flies(id)) {
            let about = begun.about.clone();
            self.progress.lock().done(&about.path, about.stamp, id)?;
            self.begun.remove(&id);
            self.show();
        }
        Ok(())
    }

    /// Waits until everything on its way is acknowledged.
    fn land(&mut self) -> Result<(), Fault> {
        while self.patient.flying() > 0 {
            self.hear(Instant::now() + LOOK)?;
            if self.patient.is_over() {
                let frames = self.patient.flying();
                info!(
                    camera = self.name,
                    frames, "stopped before Kafka acknowledged them: the next start looks whether it did"
                );
                break;
            }
        }
        self.note(true)
    }

    /// Waits for something to happen, at most until then, and takes in all that has.
    fn hear(&mut self, until: Instant) -> Result<(), Fault> {
        for fared in self.patient.hear(until)? {
            match fared {
                Fared::Sent { token, partition, offset } => {
                    self.counts.frames += 1;
                    self.sent.landed(token, Some((partition, offset)));
                    self.finish(token.0)?;
                }
                Fared::TooLarge(token) => {
                    self.too_large(token);
                    self.sent.landed(token, None);
                    self.finish(token.0)?;
                }
            }
        }
        self.show();
        Ok(())
    }

    fn too_large(&mut self, (id, number): FrameId) {
        self.metrics.refuse(DropReason::too_large);
        let path = self.begun.get(&id).map(|begun| begun.about.path.display().to_string()).unwrap_or_default();
        self.complain(&format!("{path}: frame {number}: larger than the topic takes: raise its max.message.bytes"));
    }

    /// Notes now and then how far the files have come.
    fn note(&mut self, now: bool) -> Result<(), Fault> {
        if !now && self.noted.elapsed() < NOTE {
            return Ok(());
        }
        self.noted = Instant::now();
        let first = self.sent.first();
        let settled = self.begun.iter().map(|(id, begun)| (*id, first.get(id).copied().unwrap_or(begun.next)));
        Ok(self.progress.lock().sent(settled, self.sent.ends())?)
    }

    fn pass_over(&mut self, path: &Path, reason: DropReason, words: &str) {
        *self.counts.bad.entry(reason.as_str()).or_default() += 1;
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

    fn show(&self) {
        self.files.set(self.there, self.left);
    }

    /// Everything that there was is sent or passed over.
    fn complete(&self) {
        let Counts { files, frames, before, bad } = &self.counts;
        let mut words = format!("all files were read: {frames} frames of {files} files sent in this run");
        if *before > 0 {
            words = format!("{words}, {before} files done before");
        }
        if !bad.is_empty() {
            let count: u64 = bad.values().sum();
            let reasons: Vec<String> = bad.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            words = format!("{words}, {count} passed over ({})", reasons.join(", "));
        }
        if *files + *before == 0 && bad.is_empty() {
            let what = match &self.places.sought {
                Sought::Matching(pattern) => format!("nothing matches `{}`", pattern.as_str()),
                Sought::One(_) | Sought::Usual => "there are no videos and no pictures".to_owned(),
            };
            words = format!("{words}: {what} in {}", self.places.folder.display());
        }
        info!(camera = self.name, "{words}");
        self.state.set(ConditionType::Ready, ConditionStatus::True, Reason::Completed, words);
    }
}

/// A whole JPEG that any decoder takes.
fn mended(habit: &mut EoiHabit, jpeg: Bytes, metrics: &CameraMetrics) -> Result<(Bytes, JpegInfo), DropReason> {
    let (jpeg, info, mended) = habit.mend(jpeg).map_err(DropReason::from)?;
    mended.reasons().for_each(|reason| _ = metrics.mended(reason).inc());
    Ok((jpeg, info))
}
