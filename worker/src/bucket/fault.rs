//! What an object store refuses, in words that name the remedy.

use std::{error::Error, fmt};

use edgereel_crds::status::Reason;
use edgereel_runtime::plain::plain;
use object_store::Error as StoreError;

/// Why an object cannot be put or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the condition.
    pub reason: Reason,
    /// For people: the object and its server, what was said, the remedy.
    pub message: String,
}

impl Refused {
    /// With what was meant, and why not.
    pub fn new(reason: Reason, what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Refused { reason, message: plain(format!("{what}: {why}")) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refused {}

/// An S3 error code, what it means here, and what to do. Source: Amazon S3, list of error codes.
const CODES: &[(&str, Reason, &str)] = &[
    (
        "InvalidAccessKeyId",
        Reason::ArchiveUnauthorized,
        "the server does not know this access key: correct the value of spec.archive.s3.accessKeyIdSecretRef",
    ),
    (
        "SignatureDoesNotMatch",
        Reason::ArchiveUnauthorized,
        "the secret access key is another than the server's: correct the value of spec.archive.s3.secretAccessKeySecretRef",
    ),
    (
        "AccessDenied",
        Reason::ArchiveUnauthorized,
        "the login may not do this: allow it s3:PutObject, s3:GetObject and s3:AbortMultipartUpload below this name",
    ),
    (
        "AllAccessDisabled",
        Reason::ArchiveUnauthorized,
        "access to this bucket is turned off: ask whoever it belongs to",
    ),
    ("ExpiredToken", Reason::ArchiveUnauthorized, "the session's token has expired: give it a new one"),
    ("InvalidToken", Reason::ArchiveUnauthorized, "the session's token is not valid: give it a new one"),
    (
        "RequestTimeTooSkewed",
        Reason::ArchiveUnauthorized,
        "this machine's clock differs from the server's by more than 15 minutes: set it (NTP)",
    ),
    (
        "NoSuchBucket",
        Reason::ArchiveBucketMissing,
        "there is no such bucket: make it, or correct spec.archive.s3.bucket",
    ),
    (
        "PermanentRedirect",
        Reason::ArchiveBucketMissing,
        "the bucket is in another region: set spec.archive.s3.region to it",
    ),
    (
        "AuthorizationHeaderMalformed",
        Reason::ArchiveBucketMissing,
        "the server expects another region: set spec.archive.s3.region to it",
    ),
    (
        "IllegalLocationConstraintException",
        Reason::ArchiveBucketMissing,
        "the bucket is in another region: set spec.archive.s3.region to it",
    ),
    ("SlowDown", Reason::ArchiveUnreachable, "the server is overloaded; it is tried again"),
    ("ServiceUnavailable", Reason::ArchiveUnreachable, "the server is overloaded; it is tried again"),
    ("InternalError", Reason::ArchiveUnreachable, "a fault of the server's; it is tried again"),
    ("QuotaExceeded", Reason::ArchiveError, "the bucket is full: give it more room, or delete from it"),
    ("XMinioStorageFull", Reason::ArchiveError, "the server's disks are full: free some space there"),
    (
        "NotImplemented",
        Reason::ArchiveError,
        "the server does not know conditional writes (If-None-Match), without which another object could be overwritten: use one \
         that does",
    ),
];

/// The error and all that it was made of.
fn chain(error: &StoreError) -> Vec<String> {
    let (mut all, mut next) = (vec![error.to_string()], error.source());
    while let Some(error) = next {
        all.push(error.to_string());
        next = error.source();
    }
    all
}

/// The `Code` of an S3 error document in a text.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.trim())
}

/// Whether the store has refused a conditional write because its condition does not hold. The library tells it of one request, not of the
/// completion of an upload.
pub fn failed_condition(error: &StoreError) -> bool {
    chain(error).iter().any(|text| text.contains("412 Precondition Failed") || code(text) == Some("PreconditionFailed"))
}

/// What the store said of an object.
pub fn refused(error: &StoreError, what: impl fmt::Display) -> Refused {
    let chain = chain(error);
    let said = chain.iter().find_map(|text| code(text));
    if let Some((code, reason, remedy)) = said.and_then(|said| CODES.iter().find(|(code, ..)| *code == said)) {
        return Refused::new(*reason, what, format!("{remedy} ({code})"));
    }
    if let Some(code) = said {
        let words = chain.iter().find_map(|text| text.split_once("<Message>")?.1.split_once("</Message>"));
        return Refused::new(
            Reason::ArchiveError,
            what,
            format!("the server answers {code}: {}", words.map_or("", |w| w.0)),
        );
    }
    let all = chain.join(": ").to_lowercase();
    let root = chain.last().map_or("", String::as_str);
    let (reason, why) = match error {
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => (
            Reason::ArchiveUnauthorized,
            "the server refuses the login: correct the access key (spec.archive.s3), or what it may do".to_owned(),
        ),
        StoreError::NotFound { .. } => {
            (Reason::ArchiveBucketMissing, "the server knows no such bucket: correct spec.archive.s3.bucket".to_owned())
        }
        _ if all.contains("redirect without location") => (
            Reason::ArchiveBucketMissing,
            "the server points elsewhere: the bucket is in another region, correct spec.archive.s3.region".to_owned(),
        ),
        _ if all.contains("certificate") => (
            Reason::ArchiveUnreachable,
            format!("{root}: name the authority of the server's certificate in spec.archive.s3.caSecretRef"),
        ),
        _ if all.contains("dns") || all.contains("failed to lookup") => {
            (Reason::ArchiveUnreachable, format!("{root}: correct spec.archive.s3.endpoint"))
        }
        _ if all.contains("169.254.169.254") => (
            Reason::ArchiveUnauthorized,
            "this machine has no identity of its own: give spec.archive.s3.accessKeyIdSecretRef and secretAccessKeySecretRef"
                .to_owned(),
        ),
        _ if all.contains("connect") || all.contains("timed out") || all.contains("timeout") => {
            (Reason::ArchiveUnreachable, format!("no answer ({root}); is spec.archive.s3.endpoint right, and the server up?"))
        }
        _ => (Reason::ArchiveError, root.to_owned()),
    };
    Refused::new(reason, what, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> Refused {
        let source = std::io::Error::other(format!("Server returned non-2xx status code: 403 Forbidden: {body}"));
        refused(&StoreError::Generic { store: "S3", source: source.into() }, "s3://b/a")
    }

    #[test]
    fn what_a_store_says_has_its_field_and_its_remedy() {
        for (code, reason, words) in [
            ("InvalidAccessKeyId", Reason::ArchiveUnauthorized, "accessKeyIdSecretRef"),
            ("SignatureDoesNotMatch", Reason::ArchiveUnauthorized, "secretAccessKeySecretRef"),
            ("AccessDenied", Reason::ArchiveUnauthorized, "s3:PutObject"),
            ("RequestTimeTooSkewed", Reason::ArchiveUnauthorized, "clock"),
            ("NoSuchBucket", Reason::ArchiveBucketMissing, "spec.archive.s3.bucket"),
            ("AuthorizationHeaderMalformed", Reason::ArchiveBucketMissing, "spec.archive.s3.region"),
            ("SlowDown", Reason::ArchiveUnreachable, "overloaded"),
        ] {
            let refused = said(&format!("<Error><Code>{code}</Code><Message>no</Message></Error>"));
            assert_eq!(refused.reason, reason, "{code}");
            assert!(refused.message.contains(words) && refused.message.contains("s3://b/a"), "{}", refused.message);
        }
        let source = std::io::Error::other("Server returned non-2xx status code: 412 Precondition Failed: ");
        assert!(failed_condition(&StoreError::Generic { store: "S3", source: source.into() }));
        let source = std::io::Error::other("https://b/a?uploadId=412: Server returned non-2xx status code: 500: ");
        assert!(!failed_condition(&StoreError::Generic { store: "S3", source: source.into() }));
        let other = said("<Error><Code>Novelty</Code><Message>something new</Message></Error>");
        assert_eq!(other.reason, Reason::ArchiveError);
        assert!(other.message.contains("Novelty") && other.message.contains("something new"), "{}", other.message);
    }
}
