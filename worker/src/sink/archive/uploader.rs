//! Brings closed files to the store, the oldest first, on a thread of its own. What fails is tried again, whatever it was; only a file whose
//! name another object has lets those behind it pass.

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use edgereel_crds::{archive::S3, status::Reason};
use edgereel_runtime::{backoff::Backoff, fault::Fault, secrets::Secrets};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{runtime::Runtime, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    archived::Archived,
    ledger::{Begun, Entry, Known, Ledger, Object, Rows},
    telling::Telling,
    units::{self, Kind, Names, Unit},
};
use crate::{
    bucket::{self, Bucket, fault::Refused, upload::Put},
    sink::{disk::Disk, fault::OutputError, retention::gone::Gone},
};

/// So many pictures of a data set are on their way at once, and so many between two notes.
const PICTURES: usize = 8;
const NOTE_EVERY: usize = 64;
/// After a fault.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a name that another object has is looked at again.
const CONFLICT_WAIT: Duration = Duration::from_secs(60);

/// What uploads.
pub struct Uploader {
    /// The bucket.
    pub s3: S3,
    /// Logins.
    pub secrets: Secrets,
    /// What is uploaded.
    pub kind: Kind,
    /// Below it the files' names begin.
    pub directory: PathBuf,
    /// The sink's own folder.
    pub folder: PathBuf,
    /// The list of the files that the sink has begun.
    pub list: PathBuf,
    /// What the store has.
    pub archived: Arc<Archived>,
    /// Says how it goes.
    pub telling: Telling,
}

impl Uploader {
    /// Works until it is told to stop, or nobody says any more what is closed.
    pub fn work(self, mut closed: watch::Receiver<Option<u64>>, stop: &CancellationToken) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => return self.telling.refused(&Refused::new(Reason::InternalError, "no thread to upload with", e)),
        };
        self.rounds(&runtime, &mut closed, stop);
        // A name that is looked up holds nothing up.
        runtime.shutdown_background();
    }

    fn rounds(&self, runtime: &Runtime, closed: &mut watch::Receiver<Option<u64>>, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let worked = panic::catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(async {
                    tokio::select! {
                        () = stop.cancelled() => None,
                        ended = self.run(closed) => Some(ended),
                    }
                })
            }));
            let fault = match worked {
                Ok(None | Some(Ok(()))) => return,
                Ok(Some(Err(fault))) => Refused { reason: fault.reason, message: fault.message },
                Err(_) => {
                    Refused::new(Reason::InternalError, "a fault of ours", "uploading panicked (the log has its words)")
                }
            };
            self.telling.refused(&fault);
            runtime.block_on(async {
                let _ = tokio::time::timeout(LONGEST_WAIT, stop.cancelled()).await;
            });
        }
    }

    async fn run(&self, closed: &mut watch::Receiver<Option<u64>>) -> Result<(), Fault> {
        let bucket = Bucket::open(&self.s3, &self.telling.sink, &self.secrets)?;
        let (ledger, known) = Ledger::open(&self.folder, &Disk::default())?;
        let mut shift = Shift {
            uploader: self,
            bucket,
            ledger,
            names: Names::new(self.list.clone()),
            waiting: BTreeMap::new(),
            passed: BTreeMap::new(),
            left: vec![],
            rows: None,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        };
        shift.begin(known).await;
        shift.work(closed).await
    }

    fn place(&self) -> String {
        bucket::place(&self.s3, &self.telling.sink)
    }
}

/// The work, from an opening of the ledger on.
struct Shift<'a> {
    uploader: &'a Uploader,
    bucket: Bucket,
    ledger: Ledger,
    names: Names,
    /// What the store lacks, by number.
    waiting: BTreeMap<u64, Unit>,
    /// Those of them whose name another object has, with when to look again.
    passed: BTreeMap<u64, (Instant, Refused)>,
    /// Uploads in parts that a crash has left.
    left: Vec<Begun>,
    /// How far a data set's CSV was brought.
    rows: Option<Rows>,
    backoff: Backoff,
}

impl Shift<'_> {
    /// Takes in what is known, and asks whether the bucket may be written to.
    async fn begin(&mut self, known: Known) {
        for Entry { segment, file, bytes, .. } in known.entries {
            self.uploader.archived.add(segment, file, bytes);
        }
        self.rows = known.rows;
        self.left = known.begun;
        let telling = &self.uploader.telling;
        match self.bucket.try_it().await {
            Ok(()) => telling.healthy(format!("{} can be written to", self.uploader.place())),
            Err(refused) => telling.refused(&refused),
        }
    }

    /// Gives up the uploads in parts that a crash has left.
    async fn give_up(&mut self) -> Result<(), Refused> {
        if self.left.is_empty() {
            return Ok(());
        }
        for Begun { name, id } in &self.left {
            self.bucket.give_up(name, id).await?;
        }
        self.ledger.ended().map_err(of_disk)?;
        self.left.clear();
        Ok(())
    }

    async fn work(&mut self, closed: &mut watch::Receiver<Option<u64>>) -> Result<(), Fault> {
        loop {
            let last = *closed.borrow_and_update();
            if let Some(last) = last {
                self.learn(last)?;
            }
            let now = Instant::now();
            self.passed.retain(|_, (until, _)| *until > now);
            let due = self.waiting.iter().find(|(segment, _)| !self.passed.contains_key(segment));
            let Some((segment, unit)) = due.map(|(segment, unit)| (*segment, unit.clone())) else {
                let next = self.passed.values().map(|(until, _)| *until).min();
                let wait = next.map_or(LONGEST_WAIT, |until| until.saturating_duration_since(now));
                match tokio::time::timeout(wait, closed.changed()).await {
                    // Whoever says what is closed has ended.
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) | Err(_) => continue,
                }
            };
            let uploaded = match self.give_up().await {
                Ok(()) => self.upload(segment, &unit).await,
                Err(refused) => Err(refused),
            };
            match uploaded {
                Ok(entry) => self.done(segment, entry)?,
                Err(refused) if refused.reason == Reason::StorageMissing => {
                    self.uploader.telling.moved_away(&refused);
                    self.waiting.remove(&segment);
                    self.uploader.telling.waiting(&self.waiting);
                }
                Err(refused) => {
                    self.uploader.telling.refused(&refused);
                    match refused.reason {
                        Reason::ArchiveConflict => drop(self.passed.insert(segment, (now + CONFLICT_WAIT, refused))),
                        _ => tokio::time::sleep(self.backoff.next(&mut rand::rng())).await,
                    }
                    self.uploader.telling.waiting(&self.waiting);
                }
            }
        }
    }

    /// Takes in what was closed since.
    fn learn(&mut self, closed: u64) -> Result<(), OutputError> {
        let (anew, found) = self.names.up_to(closed)?;
        if anew {
            self.waiting.clear();
            self.passed.clear();
        }
        // Nothing goes that is not in the store.
        let gone = Gone::read(&self.uploader.folder)?.map_or(0, |gone| gone.segment);
        let mut away = vec![];
        for (segment, file) in found.into_iter().filter(|(segment, _)| *segment > gone) {
            match Unit::look(self.uploader.kind, &self.uploader.directory, &file)? {
                Some(unit) if self.uploader.archived.has(segment, &file, unit.bytes) => {}
                Some(unit) => drop(self.waiting.insert(segment, unit)),
                None => away.push(file),
            }
        }
        if let Some(first) = away.first() {
            tracing::warn!(
                sink = %self.uploader.telling.sink,
                "archive: {} closed files were moved away and are not uploaded, {first} among them", away.len()
            );
        }
        self.uploader.telling.waiting(&self.waiting);
        Ok(())
    }

    /// The store has it.
    fn done(&mut self, segment: u64, entry: Entry) -> Result<(), OutputError> {
        let Uploader { archived, telling, .. } = self.uploader;
        self.ledger.done(&entry)?;
        archived.add(segment, entry.file, entry.bytes);
        self.waiting.remove(&segment);
        self.backoff.reset();
        telling.waiting(&self.waiting);
        match self.passed.values().next() {
            Some((_, refused)) => telling.stands(refused),
            None => {
                let place = self.uploader.place();
                telling.healthy(match self.waiting.len() {
                    0 => format!("all that is closed is in {place}"),
                    files => format!("{files} closed files are being uploaded to {place}"),
                });
            }
        }
        Ok(())
    }

    async fn upload(&mut self, segment: u64, unit: &Unit) -> Result<Entry, Refused> {
        let Unit { file, bytes, .. } = unit.clone();
        let mut entry = Entry {
            segment,
            file: file.clone(),
            bytes,
            place: self.uploader.place(),
            objects: vec![],
            pictures: 0,
            from: None,
            until: None,
        };
        match self.uploader.kind {
            Kind::Video => {
                let sheet = units::sheet_of(&file);
                if let Some((from, until)) = units::times(&self.uploader.directory.join(&sheet)) {
                    (entry.from, entry.until) = (Some(from), Some(until));
                }
                entry.objects.push(self.put(&file).await?);
                entry.objects.push(self.put(&sheet).await?);
            }
            // The CSV last: whoever reads one finds its pictures.
            Kind::Dataset => {
                entry.pictures = self.put_pictures(segment, &file).await?;
                entry.objects.push(self.put(&file).await?);
            }
        }
        Ok(entry)
    }

    async fn put(&mut self, file: &str) -> Result<Object, Refused> {
        let path = self.uploader.directory.join(file);
        let (ledger, mut began) = (&mut self.ledger, false);
        let put = self
            .bucket
            .put(file, &path, &mut |name, id| {
                began = true;
                ledger.begun(&Begun { name: name.to_owned(), id: id.to_owned() }).map_err(of_disk)
            })
            .await?;
        if began {
            self.ledger.ended().map_err(of_disk)?;
        }
        self.uploader.telling.put(&put);
        Ok(Object { name: put.name, bytes: put.bytes, sha256: put.sha256 })
    }

    /// Uploads the pictures of a CSV, from where it was left; how many it has.
    async fn put_pictures(&mut self, segment: u64, file: &str) -> Result<u64, Refused> {
        let directory = &self.uploader.directory;
        let pictures = units::pictures(&directory.join(file)).map_err(of_disk)?;
        let known = self.rows.as_ref().filter(|rows| rows.segment == segment && rows.file == *file);
        let mut rows = known.map_or(0, |rows| rows.rows as usize).min(pictures.len());
        while rows < pictures.len() {
            let some = &pictures[rows..pictures.len().min(rows + NOTE_EVERY)];
            let bucket = &self.bucket;
            let put = async |picture: &String| {
                let mut note = |_: &str, _: &str| Ok(());
                match bucket.put(picture, &directory.join(picture), &mut note).await {
                    // Somebody took it out of the data set; the others are none the worse for it.
                    Err(refused) if refused.reason == Reason::StorageMissing => {
                        tracing::warn!(sink = %self.uploader.telling.sink, "archive: {refused}");
                        Ok(None)
                    }
                    put => put.map(Some),
                }
            };
            let sent: Vec<Option<Put>> =
                stream::iter(some.iter().map(put)).buffer_unordered(PICTURES).try_collect().await?;
            sent.iter().flatten().for_each(|put| self.uploader.telling.put(put));
            rows += some.len();
            let done = Rows { segment, file: file.to_owned(), rows: rows as u64 };
            self.ledger.rows(&done).map_err(of_disk)?;
            self.rows = Some(done);
        }
        Ok(pictures.len() as u64)
    }
}

fn of_disk(error: OutputError) -> Refused {
    let fault = Fault::from(error);
    Refused { reason: fault.reason, message: fault.message }
}
