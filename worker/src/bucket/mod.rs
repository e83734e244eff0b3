//! A bucket of an object store, as a resource names it. Files are put there once, under names that are given, and never over
//! anything.
//!
//! - [`upload`] puts a file under its name, and sees whether what has that name is the file already;
//! - [`fault`] has what a store refuses in words that name the field and the remedy; [`pace`] keeps to a rate.

pub mod fault;
mod pace;
pub mod upload;

use std::time::Duration;

use edgereel_crds::{archive::S3, name::ObjectName, status::Reason};
use edgereel_runtime::{
    fault::Fault,
    secrets::{SecretError, Secrets},
};
use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, Checksum},
    multipart::MultipartStore,
    path::Path as Key,
};
use tokio::sync::Mutex;

use self::{fault::Refused, pace::Pace};

const CONNECT: Duration = Duration::from_secs(10);
/// A request may take so long: a part of an upload over a slow line does.
const REQUEST: Duration = Duration::from_secs(300);
/// What a store refuses for the moment is asked again within so long; after that it is for the caller to wait.
const RETRY: Duration = Duration::from_secs(20);
const RETRIES: usize = 2;

/// A bucket, and where in it the names begin.
pub struct Bucket {
    store: AmazonS3,
    /// Completes uploads of several parts: with a condition, which would be refused with the parts.
    completing: AmazonS3,
    bucket: String,
    prefix: String,
    endpoint: String,
    pace: Mutex<Pace>,
}

/// The first part of every object's name of a sink.
pub fn prefix(s3: &S3, sink: &ObjectName) -> String {
    s3.prefix.clone().unwrap_or_else(|| format!("{}/{}", sink.namespace, sink.name))
}

/// The place that people know it by.
pub fn place(s3: &S3, sink: &ObjectName) -> String {
    format!("s3://{}/{}", s3.bucket, prefix(s3, sink))
}

impl Bucket {
    /// Knows the bucket and how to log in; asks nobody yet.
    ///
    /// # Errors
    /// [`Reason::InvalidConfiguration`] for a certificate that is none, [`Reason::SecretMissing`] for a Secret that cannot be had.
    pub fn open(s3: &S3, sink: &ObjectName, secrets: &Secrets) -> Result<Self, Fault> {
        let missing = |field: &str, error: SecretError| {
            Fault::new(Reason::SecretMissing, format!("spec.archive.s3.{field}: {error}"))
        };
        let own = s3.access_key_id_secret_ref.as_ref().zip(s3.secret_access_key_secret_ref.as_ref());
        let read = |field: &str, name: &str, key: &str| {
            secrets.text(&sink.namespace, name, key).map_err(|error| missing(field, error))
        };
        let mut builder = match own {
            Some((id, secret)) => AmazonS3Builder::new()
                .with_access_key_id(read("accessKeyIdSecretRef", &id.name, &id.key)?)
                .with_secret_access_key(read("secretAccessKeySecretRef", &secret.name, &secret.key)?),
            // The identity that the machine or the pod has, in the variables that all tools of AWS know.
            None => AmazonS3Builder::from_env(),
        };
        let mut options = ClientOptions::new()
            .with_allow_http(s3.allow_http)
            .with_connect_timeout(CONNECT)
            .with_timeout(REQUEST)
            .with_user_agent(HeaderValue::from_static(concat!("edgereel/", env!("CARGO_PKG_VERSION"))));
        if let Some((field, source, key)) = s3.ca() {
            let pem = secrets.read(&sink.namespace, &source, key).map_err(|error| missing(field, error))?;
            let bad = |e| {
                let message = format!("spec.archive.s3.{field}: {source}, key {key}: no certificate in PEM: {e}");
                Fault::new(Reason::InvalidConfiguration, message)
            };
            for certificate in Certificate::from_pem_bundle(pem.as_bytes()).map_err(bad)? {
                options = options.with_root_certificate(certificate);
            }
        }
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(region) = &s3.region {
            builder = builder.with_region(region);
        }
        let builder = builder
            .with_bucket_name(&s3.bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY });
        let unless_there = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("*"))]);
        let built = |options: ClientOptions| {
            builder
                .clone()
                .with_client_options(options)
                .build()
                .map_err(|e| Fault::new(Reason::InvalidConfiguration, format!("spec.archive.s3: {e}")))
        };
        Ok(Bucket {
            store: built(options.clone())?,
            completing: built(options.with_default_headers(unless_there))?,
            bucket: s3.bucket.clone(),
            prefix: prefix(s3, sink),
            endpoint: s3.endpoint.clone().unwrap_or_else(|| "Amazon S3".to_owned()),
            pace: Mutex::new(Pace::new(s3.max_bytes_per_second.map(|rate| rate.0))),
        })
    }

    /// The object of a file, by its path below the output's directory, and its name.
    fn key(&self, file: &str) -> Result<(Key, String), Refused> {
        let name = format!("{}/{file}", self.prefix);
        let key =
            Key::parse(&name).map_err(|e| Refused::new(Reason::ArchiveError, self.named(&name), e.to_string()))?;
        Ok((key, name))
    }

    /// An object for people.
    fn named(&self, name: &str) -> String {
        format!("s3://{}/{name} of {}", self.bucket, self.endpoint)
    }

    /// Begins to upload an object and gives that up again: nothing ever has its name. So the server was reached, the login is known, the
    /// bucket is there and may be written to.
    pub async fn try_it(&self) -> Result<(), Refused> {
        let (key, name) = self.key(".edgereel-check")?;
        let refused = |e| fault::refused(&e, self.named(&name));
        let id = self.store.create_multipart(&key).await.map_err(refused)?;
        self.store.abort_multipart(&key, &id).await.map_err(refused)
    }
}
