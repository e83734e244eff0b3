//! Dials a camera as the capture does, and looks at its pictures for some seconds.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use edgereel_crds::{
    camera_stream::{CameraStreamSpec, Reencode, Source as Spec},
    plan::CameraPlan,
};
use edgereel_frame::jpeg::EoiHabit;
use edgereel_runtime::secrets::Secrets;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Verdict};
use crate::{
    folder::{self, look::Seen as Files},
    source::{self, Again, Part, Source, SourceError},
    videos,
};

/// How long pictures are counted, to tell their rate.
const SAMPLE: Duration = Duration::from_secs(3);
/// From one dialling to the next, for a camera that closes after each picture.
const DIAL_INTERVAL: Duration = Duration::from_millis(100);

/// Asks one camera, `patience` at most. Of a folder, some of its files are looked into.
pub(super) async fn ask(
    plan: CameraPlan,
    secrets: Secrets,
    storage_root: Option<PathBuf>,
    patience: Duration,
) -> Answer {
    if folder::source(&plan).is_some() || videos::source(&plan).is_some() {
        let looked = tokio::task::spawn_blocking(move || look(&plan, storage_root.as_deref()));
        return looked.await.unwrap_or_else(|e| (Verdict::Fail, format!("a fault of ours: {e}")));
    }
    let mut source = match source::open(&plan, &secrets) {
        Ok(source) => source,
        Err(fault) => return (Verdict::Fail, fault.message),
    };
    let mut seen = Seen::new(&plan.spec, Instant::now() + patience);
    let fault = loop {
        match seen.look(source.as_mut()).await {
            Err(fault) if fault.again == Again::AtOnce && seen.whole > 0 && Instant::now() < seen.until() => {
                seen.closes = true;
                tokio::time::sleep(DIAL_INTERVAL).await;
            }
            Err(fault) => break Some(fault),
            Ok(()) => break None,
        }
    };
    seen.verdict(source.login(), fault, patience)
}

fn look(plan: &CameraPlan, storage_root: Option<&Path>) -> Answer {
    if let Some(spec) = videos::source(plan) {
        return match videos::look::look(plan, spec, storage_root) {
            Err(fault) => (Verdict::Fail, fault.message),
            Ok(seen) => of_videos(seen),
        };
    }
    let Some(spec) = folder::source(plan) else { return (Verdict::Ok, String::new()) };
    match folder::look::look(plan, spec, storage_root) {
        Err(fault) => (Verdict::Fail, fault.message),
        Ok((paths, seen)) => {
            let Files { files, looked_at, bad } = seen;
            let words = format!("{}: {files} files, {looked_at} of them looked into", paths.folder.display());
            match bad {
                None => (Verdict::Ok, words),
                Some((count, first)) => (Verdict::Warn, format!("{words}, {count} would be passed over, as {first}")),
            }
        }
    }
}

fn of_videos(videos::look::Seen { folder, files: (videos, pictures), looked_at, bad }: videos::look::Seen) -> Answer {
    let words =
        format!("{}: {videos} videos and {pictures} pictures, {looked_at} of them looked into", folder.display());
    match bad {
        _ if videos + pictures == 0 => (Verdict::Warn, words),
        None => (Verdict::Ok, words),
        Some((count, first)) => (Verdict::Warn, format!("{words}, {count} would be passed over, as {first}")),
    }
}

/// What was seen of a camera.
struct Seen<'a> {
    spec: &'a CameraStreamSpec,
    deadline: Instant,
    connected: bool,
    /// When the first part came, whatever it was.
    began: Option<Instant>,
    habit: EoiHabit,
    /// The first picture: when it came, its size and its bytes.
    first: Option<(Instant, (u16, u16), usize)>,
    last: Instant,
    whole: usize,
    dropped: usize,
    /// What was wrong with the last that was dropped.
    why: String,
    /// The last answer that was no picture.
    bad: Option<SourceError>,
    closes: bool,
}

impl<'a> Seen<'a> {
    fn new(spec: &'a CameraStreamSpec, deadline: Instant) -> Self {
        Seen {
            spec,
            deadline,
            connected: false,
            began: None,
            habit: EoiHabit::default(),
            first: None,
            last: deadline,
            whole: 0,
            dropped: 0,
            why: String::new(),
            bad: None,
            closes: false,
        }
    }

    /// How long there is to look.
    fn until(&self) -> Instant {
        self.began.map_or(self.deadline, |began| (began + SAMPLE).min(self.deadline))
    }

    /// Looks through one connection.
    async fn look(&mut self, source: &mut dyn Source) -> Result<(), SourceError> {
        let Ok(stream) = timeout_at(self.until(), source.connect()).await else { return Ok(()) };
        let mut stream = stream?;
        self.connected = true;
        while let Ok(part) = timeout_at(self.until(), stream.next()).await {
            let part = part?;
            self.began.get_or_insert_with(Instant::now);
            match part {
                Part::Picture(jpeg) => match self.habit.mend(jpeg) {
                    Ok((jpeg, info, _)) if self.is_too_large(jpeg.len()) => {
                        let size = format!("{} bytes, {}x{}", jpeg.len(), info.width, info.height);
                        self.drop(format!("{size}: larger than {}", self.limit()));
                    }
                    Ok((jpeg, info, _)) => {
                        self.last = Instant::now();
                        self.whole += 1;
                        self.first.get_or_insert((self.last, (info.width, info.height), jpeg.len()));
                    }
                    Err(defect) => self.drop(defect.to_string()),
                },
                Part::TooLarge(bytes) => self.drop(format!("{bytes} bytes: larger than {}", self.limit())),
                Part::NotWanted => self.whole += 1,
                Part::Beside => {}
                Part::Skipped(reason) => self.drop(format!("a part that is {}", reason.as_str())),
                Part::Bad(_, fault) => {
                    self.drop(fault.message.clone());
                    self.bad = Some(fault);
                }
            }
        }
        Ok(())
    }

    fn drop(&mut self, why: String) {
        self.dropped += 1;
        self.why = why;
    }

    fn is_too_large(&self, bytes: usize) -> bool {
        let encoding = &self.spec.encoding;
        encoding.reencode == Reencode::Never && bytes > encoding.max_frame_bytes.as_usize()
    }

    fn limit(&self) -> String {
        format!(
            "encoding.maxFrameBytes ({}): raise it, or set encoding.reencode: size",
            self.spec.encoding.max_frame_bytes
        )
    }

    /// Frames a second, where there were two.
    fn rate(&self) -> Option<f64> {
        let (first, ..) = self.first?;
        let seconds = self.last.duration_since(first).as_secs_f64();
        (self.whole > 1 && seconds > 0.0).then(|| (self.whole - 1) as f64 / seconds)
    }

    fn verdict(&self, login: Option<String>, fault: Option<SourceError>, patience: Duration) -> Answer {
        let Some((_, (width, height), bytes)) = self.first else {
            let words = match fault.or_else(|| self.bad.clone()) {
                Some(fault) => fault.message,
                None if self.dropped > 0 => format!("pictures come, and none can go on: {}", self.why),
                None if self.connected => format!("it answers, and no picture came within {patience:?}"),
                None => format!("no answer within {patience:?}: check that it is on and that the address is right"),
            };
            return (Verdict::Fail, words);
        };
        let kind = match &self.spec.source {
            Spec::Mjpeg(_) => "MJPEG".to_owned(),
            Spec::Snapshot(snapshot) => format!("JPEG every {}", snapshot.interval),
            Spec::Rtsp(rtsp) => format!("RTSP over {}", rtsp.transport.as_str()),
            Spec::Device(_) => "device".to_owned(),
            Spec::Directory(_) | Spec::File(_) => "a folder".to_owned(),
            Spec::Synthetic(_) => "synthetic".to_owned(),
        };
        let rate = self.rate();
        let shown = rate.map_or_else(|| format!("one in {SAMPLE:?}"), |rate| format!("{rate:.1} fps"));
        let mut words = vec![format!("{kind} {width}x{height}, {:.1} KB, {shown}", bytes as f64 / 1000.0)];
        words.extend(login);
        if self.closes {
            words.push("closes after its pictures".into());
        }
        let sound = words.len();
        if self.dropped > 0 {
            let all = self.whole + self.dropped;
            words.push(format!("{} of {all} would be dropped: {}", self.dropped, self.why));
        }
        // An estimate of some seconds: only what is far off is worth a word.
        if let (Some(rate), Some(target)) = (rate, self.spec.frame_rate.target)
            && rate < target / 2.0
        {
            words.push(format!("frameRate.target is {target}: set the camera's own rate, or lower it"));
        }
        words.extend(fault.map(|fault| fault.message));
        let verdict = if words.len() > sound { Verdict::Warn } else { Verdict::Ok };
        (verdict, words.join("; "))
    }
}
