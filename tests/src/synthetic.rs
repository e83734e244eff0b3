//! Our own camera server, `edgereel camera`, on a free port: for trouble on demand.

use std::process::Command;

use serde_json::Value;

use crate::{edgereel, edgereel_bin, free_port, process::Guarded, wait};

/// A running `edgereel camera`. Dropped, it is gone.
#[derive(Debug)]
pub struct Cameras {
    address: String,
    server: Guarded,
}

impl Cameras {
    /// Starts `edgereel camera ARGS…`, of 320×240 and about 10 KB a frame unless the arguments say otherwise; serving
    /// when this returns.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start(args: &[&str]) -> Cameras {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(edgereel_bin());
        command.args(["camera", "--listen", &address]).args(args);
        for (flag, value) in [("--size", "320x240"), ("--frame-bytes", "10k")] {
            if !args.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let server = Guarded::spawn("edgereel-camera", command).unwrap_or_else(|e| panic!("{e:#}"));
        wait::until_ok("the cameras are there", edgereel::PATIENCE, || {
            if server.stdout().contains("/cam0") { Ok(()) } else { Err(server.tail()) }
        });
        Cameras { address, server }
    }

    /// The stream of the first camera; `query` asks for its own trouble, as in `bad=stall&after=30`.
    pub fn url(&self, query: &str) -> String {
        self.at("", "/cam0", query)
    }

    /// A path, with a `user:password@` before the host.
    pub fn at(&self, login: &str, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("http://{login}{}{path}{mark}{query}", self.address)
    }

    /// How many frames the first camera has made, and how many of them it has sent, to all its clients together.
    ///
    /// # Panics
    /// When it does not say.
    pub fn counts(&self) -> (u64, u64) {
        let stats: Value = reqwest::blocking::get(self.at("", "/stats", ""))
            .and_then(|answer| answer.json())
            .unwrap_or_else(|e| panic!("the cameras' figures: {e}"));
        let figure = |name: &str| stats["cameras"][0][name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"));
        (figure("generated"), figure("sent"))
    }

    /// The process.
    pub fn child(&self) -> &Guarded {
        &self.server
    }
}
