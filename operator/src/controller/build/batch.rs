//! Jobs and CronJobs: pods that run to an end, once or by a schedule.

use edgereel_crds::schedule::Schedule;
use k8s_openapi::{
    api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{meta, pod};
use crate::{
    controller::workload::{Batch, Workload},
    hash::hash_of,
    settings::Settings,
};

/// Finished Jobs, and the logs of their pods, are there for a day.
const KEPT_SECONDS: i32 = 24 * 3600;

/// The Job of a workload that runs once. A Job's pods cannot be changed: its name has a hash of what it is, so that
/// another is another Job.
pub fn job(workload: &Workload, batch: &Batch, settings: &Settings) -> Job {
    let spec = JobSpec { ttl_seconds_after_finished: Some(KEPT_SECONDS), ..job_spec(workload, batch, settings) };
    let name = format!("{}-{}", workload.names.workload, &hash_of(&spec)[..8]);
    // Whether it is held may change.
    let spec = JobSpec { suspend: Some(workload.suspended), ..spec };
    Job { metadata: meta(workload, &name), spec: Some(spec), ..Job::default() }
}

/// The CronJob of a workload that runs by a schedule.
pub fn cron_job(workload: &Workload, batch: &Batch, schedule: &Schedule, settings: &Settings) -> CronJob {
    CronJob {
        metadata: meta(workload, &workload.names.workload),
        spec: Some(CronJobSpec {
            schedule: schedule.text().into(),
            // Without one it would be that of the machine with Kubernetes' controllers.
            time_zone: Some(schedule.zone().into()),
            // One that is late is not joined by the next.
            concurrency_policy: Some("Forbid".into()),
            suspend: Some(workload.suspended),
            // The last run is there until the next has ended: its pods hold its logs, and its counts.
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(1),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(workload.names.labels()), ..ObjectMeta::default() }),
                spec: Some(job_spec(workload, batch, settings)),
            },
            ..CronJobSpec::default()
        }),
        ..CronJob::default()
    }
}

fn job_spec(workload: &Workload, batch: &Batch, settings: &Settings) -> JobSpec {
    let mut template = pod::template(workload, settings);
    if let Some(spec) = &mut template.spec {
        // Each try has a pod of its own, and its logs stay.
        spec.restart_policy = Some("Never".into());
    }
    JobSpec {
        completions: Some(batch.completions),
        backoff_limit: Some(batch.backoff),
        active_deadline_seconds: batch.deadline,
        template,
        ..JobSpec::default()
    }
}
