//! A server of Amazon S3's protocol that others wrote (moto), and what stands in its buckets, as Amazon's own client (boto3) sees it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{free_port, process::Guarded, python, unique, wait};

const START: Duration = Duration::from_secs(60);

/// An S3 server, in memory. Dropped, it is gone with all its buckets.
#[derive(Debug)]
pub struct S3 {
    port: u16,
    tls: bool,
    _server: Guarded,
}

/// A key that may do what it was made for.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// It came in so many parts; 0: in one request.
    pub parts: u32,
}

/// Does one thing and prints JSON. Bucket's versions show whether anything was written twice.
const CLIENT: &str = r#"
import boto3, hashlib, json, os, sys
from botocore.config import Config
endpoint, what = sys.argv[1], json.loads(sys.argv[2])
login = dict(endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root", verify=False)
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 2}), **login)
bucket, out = what.get("bucket"), None
if what["do"] == "make":
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
elif what["do"] == "versions":
    out = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for v in page.get("Versions", []):
            body = s3.get_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])["Body"].read()
            parts = int(v["ETag"].strip('"').split("-")[1]) if "-" in v["ETag"] else 0
            out.setdefault(v["Key"], []).append([len(body), hashlib.sha256(body).hexdigest(), parts])
elif what["do"] == "uploads":
    out = [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
elif what["do"] == "fetch":
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for o in page.get("Contents", []):
            path = os.path.join(what["to"], o["Key"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            s3.download_file(bucket, o["Key"], path)
elif what["do"] == "put":
    s3.put_object(Bucket=bucket, Key=what["key"], Body=what["text"].encode())
elif what["do"] == "delete":
    for v in s3.list_object_versions(Bucket=bucket, Prefix=what["key"])["Versions"]:
        s3.delete_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])
elif what["do"] == "user":
    iam = boto3.client("iam", **login)
    iam.create_user(UserName=what["name"])
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": what["actions"], "Resource": "*"}]}
    iam.put_user_policy(UserName=what["name"], PolicyName="it", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=what["name"])["AccessKey"]
    out = [key["AccessKeyId"], key["SecretAccessKey"]]
print(json.dumps(out))
"#;

impl S3 {
    /// Starts a server on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start() -> S3 {
        S3::start_on(free_port())
    }

    /// Starts a server on this port.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_on(port: u16) -> S3 {
        S3::started(port, &[], false)
    }

    /// Starts a server that answers in TLS alone, with this certificate and its key.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_with_tls(certificate: &Path, key: &Path) -> S3 {
        let text = |path: &Path| path.display().to_string();
        S3::started(free_port(), &["--ssl-cert", &text(certificate), "--ssl-key", &text(key)], true)
    }

    #[track_caller]
    fn started(port: u16, more: &[&str], tls: bool) -> S3 {
        let mut command = python::command();
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).args(more);
        let server = Guarded::spawn("moto", command).unwrap_or_else(|e| panic!("{e:#}"));
        wait::until_ok("the S3 server answers", START, || {
            if let Some(status) = server.exit_status() {
                return Err(format!("it ended ({status})\n{}", server.tail()));
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
        });
        S3 { port, tls, _server: server }
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    #[track_caller]
    fn ask(&self, what: Value) -> Value {
        let said = python::run(CLIENT, &[&self.endpoint(), &what.to_string()]);
        serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    /// Makes a bucket that keeps every version of its objects, and gives its name.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn bucket(&self) -> String {
        self.bucket_named(&unique("bucket"))
    }

    /// The same, with a name of one's own.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn bucket_named(&self, name: &str) -> String {
        self.ask(json!({"do": "make", "bucket": name}));
        name.to_owned()
    }

    /// All versions of all objects, by their names.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn versions(&self, bucket: &str) -> BTreeMap<String, Vec<Version>> {
        let all: BTreeMap<String, Vec<(u64, String, u32)>> =
            serde_json::from_value(self.ask(json!({"do": "versions", "bucket": bucket}))).expect("versions");
        let version = |(bytes, sha256, parts)| Version { bytes, sha256, parts };
        all.into_iter().map(|(name, all)| (name, all.into_iter().map(version).collect())).collect()
    }

    /// The names of objects of which an upload in parts was begun and neither completed nor given up.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn uploads(&self, bucket: &str) -> Vec<String> {
        serde_json::from_value(self.ask(json!({"do": "uploads", "bucket": bucket}))).expect("names")
    }

    /// Copies every object below a directory.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn fetch(&self, bucket: &str, to: &Path) {
        self.ask(json!({"do": "fetch", "bucket": bucket, "to": to}));
    }

    /// Puts an object there, as another program would.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn put(&self, bucket: &str, key: &str, text: &str) {
        self.ask(json!({"do": "put", "bucket": bucket, "key": key, "text": text}));
    }

    /// Removes an object with all its versions.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn delete(&self, bucket: &str, key: &str) {
        self.ask(json!({"do": "delete", "bucket": bucket, "key": key}));
    }

    /// Makes a key that may do this; for the time after [`S3::look_at_logins`].
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn key(&self, actions: &[&str]) -> AccessKey {
        let key = self.ask(json!({"do": "user", "name": unique("user"), "actions": actions}));
        let (id, secret) = serde_json::from_value(key).expect("an id and a secret");
        AccessKey { id, secret }
    }

    /// From now on keys, signatures and rights count.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn look_at_logins(&self) {
        let answer = reqwest::blocking::Client::new()
            .post(format!("{}/moto-api/reset-auth", self.endpoint()))
            .body("0")
            .send()
            .and_then(reqwest::blocking::Response::error_for_status);
        answer.unwrap_or_else(|e| panic!("{e}"));
    }
}
