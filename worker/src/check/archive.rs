//! Tries whether a sink's bucket can be written to, with an upload that is given up before it has a name.

use edgereel_crds::{archive::Archive, name::ObjectName};
use edgereel_runtime::secrets::Secrets;

use super::{Answer, Verdict};
use crate::bucket::{Bucket, place};

/// Asks one sink's object store.
pub(super) async fn ask(sink: ObjectName, archive: Archive, secrets: Secrets) -> Answer {
    let Archive::S3(s3) = &archive;
    let bucket = match Bucket::open(s3, &sink, &secrets) {
        Ok(bucket) => bucket,
        Err(fault) => return (Verdict::Fail, fault.message),
    };
    match bucket.try_it().await {
        Ok(()) => (Verdict::Ok, format!("{} can be written to", place(s3, &sink))),
        Err(refused) => (Verdict::Fail, refused.message),
    }
}
