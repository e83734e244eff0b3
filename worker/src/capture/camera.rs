//! The task that dials the camera, reads it, and puts what is fit to send into the outbox.
//!
//! It never waits for Kafka: a full outbox drops by policy. Dialling again, the watchdog and pacing are here; what a
//! camera's protocol looks like is not (see [`crate::source`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edgereel_crds::{camera_stream::Reencode, plan::CameraPlan, status::Reason, units::ByteSize};
use edgereel_frame::{
    Frame,
    jpeg::{self, EoiHabit, JpegInfo},
    reasons::{DropReason, MendReason},
    reencode::Reencoder,
};
use edgereel_runtime::backoff::Backoff;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Keep,
    health::{End, Health},
    lines::Lines,
    losing::Losing,
    outbox::Outbox,
    watchdog::Frozen,
};
use crate::{
    capture::{LastFrame, metrics::CameraMetrics},
    pacing::Pacer,
    source::{Again, FrameStream, Part, Source, SourceError, apart::Apart, largest_picture},
};

/// The first wait before dialling again, and the longest.
const REDIAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The same after a refused login: some five of them within half an hour lock the account of many cameras.
const LOG_IN_AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// The wait for a device of the machine: for whoever plugs it in.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often a camera is dialled at most that closes after each picture, in times a second; `frameRate.target` can make
/// it less.
const DIALS: (f64, f64) = (1.0, 30.0);

/// So many bad answers one after the other are no accident any more.
const BAD_ANSWERS: u32 = 5;

/// Everything that the task works with.
pub(super) struct Camera {
    name: String,
    source: Box<dyn Source>,
    stall: Duration,
    frozen: Frozen,
    frozen_limit: Duration,
    pacer: Pacer,
    habit: EoiHabit,
    mode: Reencode,
    reencoder: Reencoder,
    max_bytes: usize,
    /// Larger pictures are not even read.
    most_bytes: usize,
    warn_bytes: usize,
    health: Arc<Health>,
    outbox: Arc<Outbox>,
    metrics: CameraMetrics,
    snapshot: Option<LastFrame>,
    lines: Lines,
    losing: Losing,
    /// Whether it shows the same picture for too long.
    is_frozen: bool,
    /// Whether this connection has brought a whole picture.
    has_pictures: bool,
    /// Whether it closes in order after its pictures, again and again.
    closes: bool,
    /// Bad answers since the last picture.
    bad_answers: u32,
}

impl Camera {
    pub(super) fn new(plan: &CameraPlan, source: Box<dyn Source>, health: Arc<Health>, keep: &Keep) -> Self {
        let spec = &plan.spec;
        Camera {
            name: plan.name.to_string(),
            source,
            stall: *spec.watchdog.stall,
            frozen: Frozen::new(*spec.watchdog.frozen),
            frozen_limit: *spec.watchdog.frozen,
            pacer: Pacer::new(&spec.frame_rate),
            habit: EoiHabit::default(),
            mode: spec.encoding.reencode,
            reencoder: Reencoder::new(
                spec.encoding.reencode,
                spec.encoding.quality,
                spec.encoding.max_frame_bytes.as_usize(),
            ),
            max_bytes: spec.encoding.max_frame_bytes.as_usize(),
            most_bytes: largest_picture(&spec.encoding).as_usize(),
            warn_bytes: spec.encoding.warn_frame_bytes.as_usize(),
            health,
            outbox: keep.outbox.clone(),
            metrics: keep.metrics.clone(),
            snapshot: keep.snapshot.clone(),
            lines: Lines::default(),
            losing: Losing::default(),
            is_frozen: false,
            has_pictures: false,
            closes: false,
            bad_answers: 0,
        }
    }

    /// Reads the camera until shutdown, dialling again whenever it fails.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(REDIAL.0, REDIAL.1);
        let mut logins = Backoff::new(LOG_IN_AGAIN.0, LOG_IN_AGAIN.1);
        loop {
            self.dial_anew();
            let dialled = Instant::now();
            let fault = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                fault = self.session() => fault,
            };
            if self.has_pictures {
                backoff.reset();
                logins.reset();
            }
            let in_order = self.has_pictures && fault.again == Again::AtOnce;
            let wait = match fault.again {
                _ if in_order => self.dial_interval().saturating_sub(dialled.elapsed()),
                Again::MuchLater => logins.next(&mut rand::rng()),
                Again::Soon => LOOK_AGAIN,
                Again::AtOnce | Again::Later => backoff.next(&mut rand::rng()),
            };
            if in_order {
                if !self.closes {
                    info!(camera = self.name, "the camera closes after its pictures: it is dialled again each time");
                }
            } else {
                self.failed(&fault, wait);
            }
            self.closes = in_order;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => self.metrics.reconnects.inc(),
            };
        }
    }

    /// A connection failed, and the next comes after this wait.
    fn failed(&mut self, fault: &SourceError, wait: Duration) {
        let news = self.health.camera(End::Down(fault.reason, fault.message.clone()));
        self.health.dialling_in(wait);
        // That it is frozen was said when it froze, and what was dropped when it was.
        if !matches!(fault.reason, Reason::CameraFrozen | Reason::CameraFramesDropped)
            && let Some(held) = self.lines.failure(news, Instant::now())
        {
            let (reason, wait) = (fault.reason, wait.as_millis() as u64);
            warn!(camera = self.name, ?reason, again_in_ms = wait, held_back = held, "{fault}");
        }
    }

    /// From one dialling to the next, for a camera that closes after each picture.
    fn dial_interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.pacer.rate().clamp(DIALS.0, DIALS.1))
    }

    /// What was learnt of the camera ends with the connection: another may answer now, or the same one otherwise set up.
    /// One that closes after its pictures has not gone away.
    fn dial_anew(&mut self) {
        self.has_pictures = false;
        if self.closes {
            return;
        }
        self.habit = EoiHabit::default();
        self.pacer.dialled(Instant::now());
        // A frozen camera is dialled to thaw it: its picture is still the same one until another comes.
        if !self.is_frozen {
            self.frozen.forget();
        }
    }

    /// One connection, from dialling to its failure.
    async fn session(&mut self) -> SourceError {
        let stream = match tokio::time::timeout(self.stall, self.source.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(fault)) => return fault,
            Err(_) => {
                let message = format!("no answer within {:?} (watchdog.stall): check that it is on", self.stall);
                return SourceError::new(Reason::CameraUnreachable, message);
            }
        };
        self.read(&mut Apart::new(stream)).await
    }

    async fn read(&mut self, stream: &mut dyn FrameStream) -> SourceError {
        let dialled = Instant::now();
        let mut last_picture = dialled;
        // What was wrong with the answers since then.
        let mut bad = None;
        loop {
            // Only whole pictures count: garbage, empty parts and a byte a second are silence.
            let part = match tokio::time::timeout_at((last_picture + self.stall).into(), stream.next()).await {
                Ok(Ok(part)) => part,
                Ok(Err(fault)) => return fault,
                Err(_) => {
                    let message = format!("no picture for {:?} (watchdog.stall)", self.stall);
                    let stalled = || SourceError::new(Reason::CameraStalled, message);
                    return bad.or_else(|| self.losing.fault()).unwrap_or_else(stalled);
                }
            };
            let now = Instant::now();
            match part {
                Part::Bad(reason, fault) => match self.bad_answer(reason, fault, now) {
                    Ok(fault) => bad = Some(fault),
                    Err(fault) => return fault,
                },
                Part::Skipped(reason) => self.drop_frame(reason, passed_over(reason), now),
                Part::TooLarge(bytes) => {
                    self.drop_frame(DropReason::too_large, &too_large(bytes, self.most_bytes, self.max_bytes), now);
                }
                Part::Beside => self.losing.beside(),
                // The camera is well; whether its pictures are fit to go on shows in those that are made.
                Part::NotWanted => {
                    self.metrics.refuse(DropReason::pacing);
                    (last_picture, bad) = (now, None);
                }
                Part::Picture(bytes) => match self.picture(bytes, now) {
                    Ok(None) => (last_picture, bad) = (now, None),
                    Ok(Some(standing)) => {
                        last_picture = now;
                        let message = format!("the same picture for {} s (watchdog.frozen)", standing.as_secs());
                        if !std::mem::replace(&mut self.is_frozen, true) {
                            warn!(camera = self.name, "the camera is frozen: {message}");
                        }
                        // Say so at once, go on sending, and dial again once per limit: it may thaw the camera.
                        self.health.camera(End::Down(Reason::CameraFrozen, message.clone()));
                        if now.duration_since(dialled) >= self.frozen_limit {
                            return SourceError::new(Reason::CameraFrozen, message);
                        }
                    }
                    Err((reason, detail)) => self.drop_frame(reason, &detail, now),
                },
            }
        }
    }

    /// One bad answer is one bad answer: it is counted, and the next request goes out when its time has come. A run of them
    /// is a fault, and the first of all is what there is to say of the camera.
    fn bad_answer(&mut self, reason: DropReason, fault: SourceError, now: Instant) -> Result<SourceError, SourceError> {
        self.metrics.refuse(reason);
        self.bad_answers = self.bad_answers.saturating_add(1);
        if self.bad_answers >= BAD_ANSWERS {
            return Err(fault);
        }
        if let Some(held) = self.lines.complaint(now) {
            warn!(camera = self.name, reason = reason.as_str(), held_back = held, "a bad answer: {fault}");
        }
        if self.has_pictures {
            self.health.note(&fault.message);
        } else {
            self.health.camera(End::Down(fault.reason, fault.message.clone()));
        }
        Ok(fault)
    }

    fn drop_frame(&mut self, reason: DropReason, detail: &str, now: Instant) {
        self.metrics.refuse(reason);
        self.losing.lost(reason, detail);
        if self.losing.for_too_long(self.stall, now)
            && let Some(fault) = self.losing.fault()
        {
            self.health.camera(End::Down(fault.reason, fault.message));
        } else {
            self.health.note(detail);
        }
        if let Some(held) = self.lines.complaint(now) {
            warn!(camera = self.name, reason = reason.as_str(), held_back = held, "dropped a frame: {detail}");
        }
    }

    /// Takes in one picture. Gives the time for which the camera has been frozen, if it is.
    fn picture(&mut self, bytes: Bytes, now: Instant) -> Result<Option<Duration>, (DropReason, String)> {
        let captured_at = Timestamp::now();
        self.metrics.captured_bytes.inc_by(bytes.len() as u64);
        self.metrics.frame_bytes.observe(bytes.len() as f64);
        let (jpeg, info) = self.mend(bytes)?;
        self.has_pictures = true;
        self.bad_answers = 0;
        self.metrics.last_frame.set(captured_at.as_microsecond() as f64 / 1e6);
        self.metrics.width.set(info.width.into());
        self.metrics.height.set(info.height.into());
        let standing =
            self.frozen.observe(info.length.saturating_sub(info.scan_start), || jpeg::picture_hash(&jpeg, &info), now);
        let admitted = self.pacer.admit(now, self.outbox.is_pressed());
        self.metrics.target.set(self.pacer.rate());
        if !admitted {
            // Wanted, not a fault: counted, not logged.
            self.metrics.refuse(DropReason::pacing);
            if jpeg.len() <= self.max_bytes {
                self.fit(standing, now);
            }
            return Ok(standing);
        }
        let jpeg = self.reencode(jpeg, &info)?;
        if jpeg.len() > self.max_bytes {
            return Err((DropReason::too_large, too_large(jpeg.len(), self.max_bytes, self.max_bytes)));
        }
        if jpeg.len() > self.warn_bytes {
            self.metrics.oversize.inc();
        }
        self.fit(standing, now);
        let frame = Frame { jpeg, captured_at, sequence: self.outbox.number() };
        if let Some(snapshot) = &self.snapshot {
            snapshot.set(frame.clone());
        }
        let dropped = self.outbox.push(frame, now);
        if dropped > 0
            && let Some(held) = self.lines.complaint(now)
        {
            warn!(
                camera = self.name,
                held_back = held,
                "buffer.memory is full: Kafka is away or slower than the camera"
            );
        }
        Ok(standing)
    }

    /// A picture is fit to go on.
    fn fit(&mut self, standing: Option<Duration>, now: Instant) {
        self.losing.went_on(now);
        if standing.is_none() {
            if std::mem::take(&mut self.is_frozen) {
                info!(camera = self.name, "the camera has thawed: its pictures change again");
            }
            let news = self.health.camera(End::Up);
            if let Some(since) = self.lines.greeting(news, now) {
                let (width, height) = (self.metrics.width.get(), self.metrics.height.get());
                let for_s = Some(since.as_secs()).filter(|seconds| *seconds > 0);
                info!(camera = self.name, width, height, for_s, "the camera is online");
            }
        }
    }

    fn mend(&mut self, bytes: Bytes) -> Result<(Bytes, JpegInfo), (DropReason, String)> {
        let mended = match self.habit.may_decode() {
            true => computing(|| self.habit.mend(bytes)),
            false => self.habit.mend(bytes),
        };
        let (jpeg, info, mended) = mended.map_err(|defect| (defect.into(), defect.to_string()))?;
        mended.reasons().for_each(|reason| {
            self.metrics.mended(reason).inc();
        });
        Ok((jpeg, info))
    }

    fn reencode(&mut self, jpeg: Bytes, info: &JpegInfo) -> Result<Bytes, (DropReason, String)> {
        match self.mode {
            Reencode::Never => return Ok(jpeg),
            Reencode::Size if jpeg.len() <= self.max_bytes => return Ok(jpeg),
            Reencode::Size | Reencode::Quality => {}
        }
        match computing(|| self.reencoder.apply(&jpeg, info)) {
            Ok(Some(smaller)) => {
                self.metrics.mended(MendReason::reencoded).inc();
                Ok(smaller)
            }
            Ok(None) => Ok(jpeg),
            Err(e) => Err(((&e).into(), e.to_string())),
        }
    }
}

/// What is said of a part that is no picture.
fn passed_over(reason: DropReason) -> &'static str {
    match reason {
        DropReason::empty => "a part is empty",
        DropReason::not_jpeg => "a part is no JPEG, though its type says nothing else",
        DropReason::overrun => "this machine was too busy to take a picture before the next",
        DropReason::truncated => "a picture came in part",
        _ => "a part of the stream was passed over",
    }
}

/// What is said of a picture of so many bytes, when `limit` is the most that is taken.
fn too_large(bytes: usize, limit: usize, max_frame_bytes: usize) -> String {
    if limit > max_frame_bytes {
        let limit = ByteSize(limit as u64);
        return format!("a picture of {bytes} bytes is larger than the {limit} that are read of one");
    }
    // A quarter more than this one, in steps that are easily read.
    let enough = ByteSize((bytes as u64 * 5 / 4).next_multiple_of(256 << 10));
    let limit = ByteSize(limit as u64);
    format!(
        "a picture of {bytes} bytes is larger than `encoding.maxFrameBytes`, {limit}: set it to {enough}, or \
         `encoding.reencode` to `size`"
    )
}

/// Milliseconds of pure computing: the runtime's other tasks move to other threads meanwhile.
fn computing<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[cfg(test)]
mod tests;
