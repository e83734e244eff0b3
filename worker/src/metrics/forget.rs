//! Resources that run no more have no figures.

use edgereel_crds::name::ObjectName;
use prometheus_client::metrics::{counter::Counter, family::Family};

use super::{Metrics, Resource, WithReason};
use edgereel_frame::reasons::{DropReason, InvalidReason, MendReason};

impl Metrics {
    /// Takes all series of a resource away.
    pub fn forget(&self, name: &ObjectName) {
        let r = Resource { namespace: name.namespace.clone(), name: name.name.clone() };
        macro_rules! remove {
            ($($family:ident),* $(,)?) => { $(self.$family.remove(&r);)* };
        }
        remove!(
            ready,
            restarts,
            cam_captured,
            cam_captured_bytes,
            cam_acknowledged,
            cam_forwarded,
            cam_forwarded_bytes,
            cam_oversize,
            cam_reconnects,
            cam_twice,
            cam_waiting,
            cam_buffer_bytes,
            cam_target,
            cam_last_frame,
            cam_width,
            cam_height,
            cam_frame_bytes,
            cam_ack_latency,
            sink_consumed,
            sink_stored,
            sink_stored_bytes,
            sink_durable,
            sink_dead_lettered,
            sink_repeated,
            sink_skipped,
            sink_late,
            sink_implausible,
            sink_lost,
            sink_lag,
            sink_lag_seconds,
            sink_disk_free,
            sink_disk_size,
            sink_last_frame,
            sink_assigned,
            sink_partitions,
            sink_rebalances,
            sink_file_latency,
            sink_durable_latency,
            sink_flush,
        );
        let with_reason = |family: &Family<WithReason, Counter>, reason| {
            family.remove(&WithReason { namespace: r.namespace.clone(), name: r.name.clone(), reason });
        };
        DropReason::ALL.iter().for_each(|reason| with_reason(&self.cam_dropped, reason.as_str()));
        MendReason::ALL.iter().for_each(|reason| with_reason(&self.cam_mended, reason.as_str()));
        InvalidReason::ALL.iter().for_each(|reason| with_reason(&self.sink_invalid, reason.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::Format;

    #[test]
    fn nothing_is_left_of_a_resource_that_is_gone_and_all_of_the_others() {
        let metrics = Metrics::default();
        let name = |name: &str| ObjectName { namespace: "lab".into(), name: name.into() };
        for name in [name("gone"), name("stays")] {
            let (camera, sink) = (metrics.camera(&name), metrics.sink(&name));
            camera.refuse(DropReason::truncated);
            camera.mended(MendReason::padding).inc();
            sink.invalid(InvalidReason::bad_json).inc();
        }
        let count = |name: &str| metrics.text(Format::OpenMetrics).matches(&format!("name=\"{name}\"")).count();
        assert_eq!(count("gone"), count("stays"));
        metrics.forget(&name("gone"));
        assert_eq!(count("gone"), 0);
        assert!(count("stays") > 40);
    }
}
