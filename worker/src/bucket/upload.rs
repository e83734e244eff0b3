//! Puts a file under its name, once: where that is taken already, by the same bytes it is done, by others it is refused.
//!
//! A file of up to [`PART`] is one request, a larger one goes in parts of that size or more, two at a time, so that memory is bounded. A
//! conditional write keeps both from replacing anything. Each part carries its SHA-256, which the server checks. Whether an
//! object is the file is seen by its length and its bytes, which are read for that: that happens only where a crash came between the
//! acknowledgement and its note, or a note was lost.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use edgereel_crds::status::Reason;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{
    Error as StoreError, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path as Key,
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use super::{
    Bucket,
    fault::{Refused, failed_condition, refused},
};

/// The bytes of a part, but for very large files; larger files go in parts. No part but the last may be smaller. Source: Amazon S3
/// multipart upload limits.
pub const PART: u64 = 5 << 20;
/// So many parts at most.
const PARTS: u64 = 9_000;
/// So many parts are on their way at once.
const AT_ONCE: usize = 2;

/// An object that the store has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Its whole name in the bucket.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// It was there before.
    pub was_there: bool,
}

/// Hears, before anything of it is sent, of an upload in parts: its object and its id, so that it can be given up after a crash.
pub type Note<'a> = dyn FnMut(&str, &str) -> Result<(), Refused> + 'a;

/// What was read of a file.
#[derive(Default)]
struct Seen {
    hash: Sha256,
    bytes: u64,
}

impl Seen {
    fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Bucket {
    /// Uploads `path` as the object of `file`, its path below the output's directory. Dropped, it stops where it is.
    ///
    /// # Errors
    /// [`Reason::ArchiveConflict`] where another object has the name; [`Reason::StorageMissing`] where the file is gone; what the store said.
    pub async fn put(&self, file: &str, path: &Path, note: &mut Note<'_>) -> Result<Put, Refused> {
        let (key, name) = self.key(file)?;
        let unread = |e: io::Error| unreadable(path, &e);
        let source = File::open(path).map_err(unread)?;
        let bytes = source.metadata().map_err(unread)?.len();
        if bytes <= PART {
            return self.put_small(source, bytes, path, (&key, name)).await;
        }
        if self.is_there(&key, &name).await? {
            return self.compare(&key, name, bytes, &hash_of(source).map_err(unread)?).await;
        }
        self.put_large(source, bytes, path, (&key, name), note).await
    }

    async fn put_small(
        &self,
        source: File,
        bytes: u64,
        path: &Path,
        (key, name): (&Key, String),
    ) -> Result<Put, Refused> {
        let mut content = Vec::with_capacity(bytes as usize);
        source.take(PART + 1).read_to_end(&mut content).map_err(|e| unreadable(path, &e))?;
        let sha256 = hex(&Sha256::digest(&content));
        let bytes = content.len() as u64;
        self.wait(bytes).await;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(key, PutPayload::from(content), options).await {
            Ok(_) => Ok(Put { name, bytes, sha256, was_there: false }),
            Err(StoreError::AlreadyExists { .. }) => self.compare(key, name, bytes, &sha256).await,
            Err(e) => Err(refused(&e, self.named(&name))),
        }
    }

    async fn put_large(
        &self,
        mut source: File,
        bytes: u64,
        path: &Path,
        (key, name): (&Key, String),
        note: &mut Note<'_>,
    ) -> Result<Put, Refused> {
        let failed = |e: StoreError| refused(&e, self.named(&name));
        let id = self.store.create_multipart(key).await.map_err(failed)?;
        note(&name, &id)?;
        let part = PART.max(bytes.div_ceil(PARTS));
        let mut read = Seen::default();
        let sent = {
            let numbers = 0..bytes.div_ceil(part) as usize;
            let pieces = numbers.map(|number| (number, next_part(&mut source, part, &mut read)));
            let send = |(number, content): (usize, io::Result<Bytes>)| {
                let id = &id;
                async move {
                    let content = content.map_err(|e| unreadable(path, &e))?;
                    self.wait(content.len() as u64).await;
                    let sent = self.store.put_part(key, id, number, content.into()).await;
                    sent.map_err(|e| refused(&e, self.named(key.as_ref())))
                }
            };
            // Read when its turn comes, not before.
            stream::iter(pieces).map(send).buffered(AT_ONCE).try_collect::<Vec<PartId>>().await
        };
        let completed = match sent {
            Ok(_) if read.bytes != bytes => Err(Refused::new(
                Reason::StorageError,
                path.display(),
                "it was changed while it was read: leave closed files alone",
            )),
            Ok(parts) => match self.completing.complete_multipart(key, &id, parts).await {
                Ok(_) => Ok(true),
                Err(e) if is_taken(&e) => Ok(false),
                Err(e) => Err(failed(e)),
            },
            Err(e) => Err(e),
        };
        match completed {
            Ok(true) => Ok(Put { name, bytes, sha256: read.digest(), was_there: false }),
            other => {
                // If it does not succeed it is tried again later, from the note.
                let _ = self.store.abort_multipart(key, &id).await;
                other?;
                self.compare(key, name, bytes, &read.digest()).await
            }
        }
    }

    /// Gives up an upload in parts that a crash has left. One that is no more is none.
    pub async fn give_up(&self, name: &str, id: &str) -> Result<(), Refused> {
        let bad = |e: &dyn std::fmt::Display| Refused::new(Reason::ArchiveError, self.named(name), e);
        let key = Key::parse(name).map_err(|e| bad(&e))?;
        match self.store.abort_multipart(&key, &id.to_owned()).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(e) => Err(refused(&e, self.named(name))),
        }
    }

    /// Whether an object has this name. Who may not ask hears so when the upload is completed.
    async fn is_there(&self, key: &Key, name: &str) -> Result<bool, Refused> {
        let asked = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(key, asked).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. } | StoreError::PermissionDenied { .. }) => Ok(false),
            Err(e) => Err(refused(&e, self.named(name))),
        }
    }

    /// The object has a name that was to be given: whether it is the same.
    async fn compare(&self, key: &Key, name: String, bytes: u64, sha256: &str) -> Result<Put, Refused> {
        let failed = |e: StoreError| refused(&e, self.named(&name));
        let there = self.store.get_opts(key, GetOptions::default()).await.map_err(failed)?;
        let size = there.meta.size;
        let mut hash = Sha256::new();
        if size == bytes {
            let mut content = there.into_stream();
            while let Some(piece) = content.try_next().await.map_err(failed)? {
                hash.update(&piece);
            }
        }
        if size == bytes && hex(&hash.finalize()) == *sha256 {
            return Ok(Put { name, bytes, sha256: sha256.to_owned(), was_there: true });
        }
        let why = format!(
            "another object of {size} bytes has this name, and is left alone: move it away, or give the sink another prefix \
             (spec.archive.s3.prefix)"
        );
        Err(Refused::new(Reason::ArchiveConflict, self.named(&name), why))
    }

    /// Waits until so many bytes may go.
    async fn wait(&self, bytes: u64) {
        let at = self.pace.lock().await.take(bytes, Instant::now());
        sleep_until(at).await;
    }
}

/// The next bytes of a file, which are counted.
fn next_part(source: &mut File, part: u64, read: &mut Seen) -> io::Result<Bytes> {
    let mut content = Vec::with_capacity(part as usize);
    source.take(part).read_to_end(&mut content)?;
    read.hash.update(&content);
    read.bytes += content.len() as u64;
    Ok(content.into())
}

fn hash_of(mut source: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut source, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Whether the name was given away meanwhile.
fn is_taken(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotModified { .. })
        || failed_condition(error)
}

fn unreadable(path: &Path, error: &io::Error) -> Refused {
    let reason = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::StorageMissing,
        _ => Reason::StorageError,
    };
    Refused::new(reason, format!("cannot read {}", path.display()), error)
}
