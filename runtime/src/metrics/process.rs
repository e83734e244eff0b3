//! What the process uses, under the names that every Prometheus client library gives it; and which version it is.

use std::fmt;

use procfs::{
    boot_time_secs, page_size,
    process::{LimitValue, Process as Proc, Stat},
    ticks_per_second,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Unit,
};

/// Which version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Build {
    version: &'static str,
}

/// A gauge that is always 1.
pub fn build_info() -> Family<Build, Gauge> {
    let family: Family<Build, Gauge> = Family::default();
    family.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    family
}

/// Looks at this process whenever somebody asks. What the system does not tell is left out.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(process) = Proc::myself() else { return Ok(()) };
        let mut write = |name: &str, help: &str, unit: Option<Unit>, metric: &dyn EncodeInto| {
            metric.write(name, help, unit, &mut encoder)
        };
        if let Ok(stat) = process.stat() {
            let cpu = seconds(stat.utime + stat.stime);
            write(
                "process_cpu",
                "Processor time used, by user and system",
                Some(Unit::Seconds),
                &ConstCounter::new(cpu),
            )?;
            let resident = ConstGauge::new(stat.rss * page_size());
            write("process_resident_memory", "Memory that is in use", Some(Unit::Bytes), &resident)?;
            let virtual_memory = ConstGauge::new(stat.vsize);
            write("process_virtual_memory", "Memory that is addressed", Some(Unit::Bytes), &virtual_memory)?;
            write("process_threads", "Threads", None, &ConstGauge::new(stat.num_threads))?;
            if let Some(start) = start(&stat) {
                let help = "Unix time at which the process was started";
                write("process_start_time", help, Some(Unit::Seconds), &ConstGauge::new(start))?;
            }
        }
        if let Ok(open) = process.fd_count() {
            write("process_open_fds", "Open files and sockets", None, &ConstGauge::new(open as u64))?;
        }
        if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
            write("process_max_fds", "How many files and sockets may be open", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second() as f64
}

fn start(stat: &Stat) -> Option<f64> {
    boot_time_secs().ok().map(|boot| boot as f64 + seconds(stat.starttime))
}

/// A metric with its head.
trait EncodeInto {
    fn write(&self, name: &str, help: &str, unit: Option<Unit>, to: &mut DescriptorEncoder<'_>) -> fmt::Result;
}

impl<M: EncodeMetric> EncodeInto for M {
    fn write(&self, name: &str, help: &str, unit: Option<Unit>, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metric = to.encode_descriptor(name, help, unit.as_ref(), self.metric_type())?;
        self.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Metrics, exposition::Format};

    #[test]
    fn the_process_and_its_version_are_told() {
        let text = Metrics::default().text(Format::Prometheus);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_virtual_memory_bytes") > 1e6);
        assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_threads") >= 1.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        let age = jiff::Timestamp::now().as_second() as f64 - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
        let build = format!("edgereel_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&build), "{text}");
    }
}
