//! A real Prometheus on loopback, with the rules that the chart comes to, and the questions that the dashboards ask.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    free_port,
    process::{self, Guarded, command},
    project_root, scratch, wait,
};

const START: Duration = Duration::from_secs(60);
/// Tools are built once, from their sources.
const BUILD: Duration = Duration::from_secs(900);

/// A Prometheus that scrapes each second. Dropped, it is gone.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    server: Guarded,
}

/// One of the programs of `dev/tools.sh`.
///
/// # Panics
/// When it cannot be built.
pub fn tool(name: &str) -> PathBuf {
    let mut tools = Command::new(project_root().join("dev/tools.sh"));
    tools.arg(name);
    let said = process::output("tools", tools, BUILD).unwrap_or_else(|e| panic!("{e:#}"));
    Path::new(said.trim()).join(name)
}

/// The chart's rules with everything in it, as a file for Prometheus, and its groups.
///
/// # Panics
/// When Helm refuses.
pub fn rules() -> (PathBuf, Value) {
    let mut helm = Command::new(tool("helm"));
    helm.current_dir(project_root()).args([
        "template",
        "edgereel",
        "charts/edgereel",
        "--namespace",
        "edgereel-system",
    ]);
    helm.args(["--kube-version", "1.34.0", "--values", "charts/edgereel/ci/everything-values.yaml"]);
    helm.args(["--show-only", "templates/prometheusrule.yaml"]);
    let text = process::output("helm", helm, START).unwrap_or_else(|e| panic!("{e:#}"));
    let rule: Value = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let file = scratch::dir("rules").join("rules.yaml");
    let spec = json!({"groups": rule["spec"]["groups"]});
    fs::write(&file, serde_yaml::to_string(&spec).expect("YAML")).expect("written");
    (file, spec["groups"].clone())
}

/// A panel of a dashboard: the dashboard's file, the panel's title, its expressions with what Grafana puts in.
#[derive(Clone, Debug)]
pub struct Panel {
    /// `sinks.json: Lag`.
    pub name: String,
    /// What it asks.
    pub expressions: Vec<String>,
}

/// All dashboards, by their files' names.
///
/// # Panics
/// When one cannot be read.
pub fn dashboards() -> Vec<(String, Value)> {
    let folder = project_root().join("charts/edgereel/files/dashboards");
    let mut found = vec![];
    for entry in fs::read_dir(&folder).expect("the folder of dashboards") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = fs::read_to_string(&path).expect("readable");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// The panels of a dashboard.
pub fn panels(file: &str, dashboard: &Value) -> Vec<Panel> {
    let all = dashboard["panels"].as_array().into_iter().flatten();
    let panel = |panel: &Value| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let expressions = targets.filter_map(|target| target["expr"].as_str()).map(filled_in).collect();
        Panel { name: format!("{file}: {}", panel["title"].as_str().unwrap_or_default()), expressions }
    };
    all.map(panel).collect()
}

/// An expression with its variables as Grafana fills them in where nothing is chosen.
fn filled_in(expression: &str) -> String {
    ["$namespace", "$name", "$job"]
        .iter()
        .fold(expression.replace("$__rate_interval", "1m"), |text, variable| text.replace(variable, ".*"))
}

/// The names of our metrics in an expression.
pub fn metrics_in(expression: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !is_name(c));
    words.filter(|word| word.starts_with("edgereel_")).map(str::to_owned).collect()
}

impl Prometheus {
    /// Starts one that scrapes these addresses, `host:port`, and evaluates these rules.
    ///
    /// # Panics
    /// When it does not start; with what it says of the rules.
    #[track_caller]
    pub fn start(targets: &[&str], rules: &Path) -> Prometheus {
        let (dir, port) = (scratch::dir("prometheus"), free_port());
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "edgereel", "static_configs": [{"targets": targets}]}],
        });
        let file = dir.join("prometheus.yaml");
        fs::write(&file, serde_yaml::to_string(&config).expect("YAML")).expect("written");
        let mut prometheus = command("prometheus", ["--log.level=warn"]);
        prometheus.arg(format!("--config.file={}", file.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = Guarded::spawn("prometheus", prometheus).unwrap_or_else(|e| panic!("{e:#}"));
        let prometheus = Prometheus { url: format!("http://127.0.0.1:{port}"), server };
        wait::until_ok("Prometheus is ready", START, || {
            if let Some(status) = prometheus.server.exit_status() {
                panic!("Prometheus ended ({status})\n{}", prometheus.server.tail());
            }
            reqwest::blocking::get(format!("{}/-/ready", prometheus.url))
                .and_then(reqwest::blocking::Response::error_for_status)
                .map(drop)
                .map_err(|e| e.to_string())
        });
        prometheus
    }

    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut url = url_of(&self.url, path)?;
        url.query_pairs_mut().extend_pairs(query);
        let text = reqwest::blocking::get(url)?.text()?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        match answer["status"] == "success" {
            true => Ok(answer["data"].clone()),
            false => bail!("{}: {}", answer["errorType"], answer["error"]),
        }
    }

    /// Evaluates an expression now: its series, each with its labels and value.
    ///
    /// # Errors
    /// What Prometheus says of it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.ask("api/v1/query", &[("query", expression)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The names of all metrics that were scraped.
    ///
    /// # Errors
    /// It does not answer.
    pub fn names(&self) -> Result<BTreeSet<String>> {
        Ok(serde_json::from_value(self.ask("api/v1/label/__name__/values", &[])?)?)
    }

    /// Its rules as they fare: each has `health` and, where that is `err`, `lastError`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let data = self.ask("api/v1/rules", &[])?;
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    }
}

fn url_of(base: &str, path: &str) -> Result<reqwest::Url> {
    Ok(reqwest::Url::parse(&format!("{base}/{path}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_expression_asks_for_is_known() {
        let expression = filled_in("sum(rate(edgereel_a_total{name=~\"$name\"}[$__rate_interval])) / edgereel_b_bytes");
        assert_eq!(expression, "sum(rate(edgereel_a_total{name=~\".*\"}[1m])) / edgereel_b_bytes");
        assert_eq!(metrics_in(&expression), ["edgereel_a_total", "edgereel_b_bytes"].map(String::from).into());
    }
}
