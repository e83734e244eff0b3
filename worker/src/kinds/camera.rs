//! A camera as wanted, and its work.

use edgereel_crds::{
    camera_stream::CameraStreamSpec,
    name::{Kind, ObjectName},
    plan::CameraPlan,
    schedule::Schedule,
    worker_status::{ConnectionReport, Figures, Overview, Semantics},
};
use edgereel_frame::reasons::DropReason;
use edgereel_kafka::reach;
use edgereel_runtime::{
    fault::Fault,
    metrics::Resource,
    state::ResourceState,
    table::summary::in_words,
    work::{Passed, Rate, Snapshot, Surroundings, Wanted, Work, on_a_task},
};
use futures::future::BoxFuture;
use serde_json::Value;

use super::moment;
use crate::{
    capture::{self, CaptureEnv, Keep, LastFrame, metrics::CameraFamilies},
    folder, videos,
};

/// A camera that is wanted.
pub struct WantedCamera {
    pub plan: CameraPlan,
    /// The secrets that it reads.
    pub secrets: Vec<Option<Vec<u8>>>,
    pub snapshots: bool,
    pub families: CameraFamilies,
}

impl Wanted for WantedCamera {
    fn kind(&self) -> Kind {
        Kind::CameraStream
    }

    fn shown(&self) -> &ObjectName {
        &self.plan.name
    }

    fn resource(&self) -> Resource {
        Resource::new(Kind::CameraStream, &self.plan.name, 0)
    }

    fn is_same(&self, other: &dyn Wanted) -> bool {
        other.downcast::<Self>().is_some_and(|other| (&self.plan, &self.secrets) == (&other.plan, &other.secrets))
    }

    fn work(&self) -> Box<dyn Work> {
        let last = self.snapshots.then(LastFrame::default);
        let keep = Keep::new(&self.plan, self.families.of(&self.plan.name), last.clone());
        Box::new(CameraWork { plan: self.plan.clone(), keep, last, files: videos::Kept::default() })
    }
}

struct CameraWork {
    plan: CameraPlan,
    keep: Keep,
    last: Option<LastFrame>,
    /// Of a folder, and of videos.
    files: videos::Kept,
}

impl Work for CameraWork {
    fn is_suspended(&self) -> bool {
        self.plan.spec.suspend
    }

    fn schedule(&self) -> Option<Schedule> {
        let CameraStreamSpec { schedule, time_zone, .. } = &self.plan.spec;
        // One that cannot be read does not get here.
        schedule.as_deref().and_then(|schedule| Schedule::new(schedule, time_zone.as_deref()).ok())
    }

    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        let Surroundings { secrets, shutdown, .. } = around.clone();
        let (plan, env) =
            (self.plan.clone(), CaptureEnv { secrets, keep: self.keep.clone(), state: state.clone(), shutdown });
        let (kept, around) = (self.files.clone(), around.clone());
        Box::pin(on_a_task(async move {
            let root = around.storage_root.as_deref();
            match (folder::source(&plan), videos::source(&plan)) {
                (Some(spec), _) => folder::run(&plan, spec, env, root, &kept.files).await,
                (None, Some(spec)) => videos::run(&plan, spec, env, &around, &kept).await,
                (None, None) => capture::run(&plan, env).await,
            }
        }))
    }

    fn finish(&self) {
        self.keep.finish();
    }

    fn passed(&self) -> Passed {
        let (frames, bytes) = self.keep.metrics().forwarded();
        Passed { frames, bytes }
    }

    fn figures(&self, rate: Rate) -> Figures {
        let m = self.keep.metrics();
        let account = m.account();
        let repeats = videos::source(&self.plan).map(|spec| spec.repeat);
        let folder = folder::source(&self.plan).is_some() || repeats == Some(false);
        let size = (m.width.get() > 0).then(|| format!("{}x{}", m.width.get(), m.height.get()));
        Figures::new()
            .with("fps", Semantics::Rate, Value::from(rate.fps))
            .with("frameBytes", Semantics::Mean, Value::from(rate.frame_bytes))
            .count("framesCaptured", account.captured)
            .count("framesAcknowledged", account.acknowledged)
            .count("framesDropped", account.dropped_total())
            .amount("framesWaiting", i64::try_from(account.waiting).ok())
            .counts("dropped", account.dropped)
            .amount("bufferBytes", Some(m.buffer_bytes.get()))
            .time("lastFrameTime", moment(m.last_frame.get()))
            .with("frameSize", Semantics::Text, size.map(Value::from))
            .amount("filesThere", folder.then(|| self.files.files.there() as i64))
            .amount("filesWaiting", folder.then(|| self.files.files.waiting() as i64))
    }

    fn connections(&self) -> Vec<ConnectionReport> {
        reach::report(&self.plan.connection.name).into_iter().collect()
    }

    fn overview(&self) -> Overview {
        let m = self.keep.metrics();
        let (account, bytes) = (m.account(), m.captured_bytes.get());
        let told = format!(
            "{} frames captured ({}), {} in topic {}",
            account.captured,
            in_words(bytes),
            account.acknowledged,
            self.plan.spec.topic.name
        );
        Overview {
            short: "cam".into(),
            came: Some(account.captured),
            safe: account.acknowledged,
            lag: None,
            dropped: account.dropped.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            meant: vec![DropReason::pacing.as_str().to_owned()],
            bytes,
            warn_bytes: Some(self.plan.spec.encoding.warn_frame_bytes.0),
            told,
        }
    }

    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        let picture = match self.last.as_ref().map(LastFrame::get) {
            None => Snapshot::Off,
            Some(None) => Snapshot::None,
            Some(Some(frame)) => Snapshot::Some(frame.jpeg, frame.captured_at),
        };
        Box::pin(std::future::ready(picture))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use edgereel_runtime::{metrics::Metrics, run::fleet::Member};

    use super::*;

    #[test]
    fn a_camera_tells_the_size_of_its_pictures_and_why_it_dropped_some() {
        let mut metrics = Metrics::default();
        let families = CameraFamilies::new(&mut metrics);
        let plan = super::super::tests::plan().cameras.remove(0);
        let wanted = WantedCamera { plan: plan.clone(), secrets: vec![], snapshots: false, families: families.clone() };
        let camera = families.of(&plan.name);
        let state = ResourceState::new(Kind::CameraStream, plan.name);
        let member = Member::new(state, wanted.work().into(), &metrics, &wanted.resource());
        let figures = || member.report().figures;
        assert_eq!((figures().text("frameSize"), figures().moment("lastFrameTime")), (None, None), "not known yet");
        camera.width.set(1280);
        camera.height.set(720);
        camera.last_frame.set(1.5);
        (0..3).for_each(|_| camera.refuse(DropReason::truncated));
        camera.refuse(DropReason::pacing);
        camera.take_in(500);
        assert_eq!(figures().text("frameSize"), Some("1280x720"));
        assert_eq!(figures().moment("lastFrameTime").map(|time| time.as_millisecond()), Some(1500));
        assert_eq!((figures().uint("framesDropped"), figures().uint("framesCaptured")), (Some(4), Some(5)));
        assert_eq!(figures().uint("framesWaiting"), Some(1));
        let overview = member.work.overview();
        assert_eq!((overview.dropped["truncated"], overview.dropped["pacing"], overview.is_losing()), (3, 1, true));
        // A second later: only the one that goes on counts.
        member.sample(Instant::now() + Duration::from_secs(1));
        assert_eq!((figures().number("fps").map(f64::round), figures().uint("frameBytes")), (Some(1.0), Some(500)));
    }
}
