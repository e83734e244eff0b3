//! Figures for people who live in spreadsheets: `producer_metrics.csv` and `consumer_metrics.csv`, in the columns of the Python
//! scripts, and behind them the time and the resource.
//!
//! A row tells what has gone through a resource since its row before. A thread of its own writes them: whatever the disk does,
//! nothing waits for it, and what could not be told is in the next row that can.

mod sheet;

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use edgereel_crds::name::{Kind, ObjectName};
use jiff::Timestamp;
use tracing::{info, warn};

use self::sheet::Sheet;
use crate::{plain::plain, run::fleet::Fleet};

/// What goes to Kafka.
const PRODUCER: &str =
    "Total Processed Images,Total Time (s),Average Latency (s),Throughput (images/s),Time (UTC),Resource";
/// What comes from there.
const CONSUMER: &str =
    "Total Processed Messages,Total Time (s),Average Latency (s),Throughput (messages/s),Time (UTC),Resource";
/// How long the last rows may take when the process ends: a disk that hangs must not hold it up.
const LAST: Duration = Duration::from_secs(1);
/// From one look at the thread's end to the next.
const LOOK: Duration = Duration::from_millis(5);

/// The thread that writes.
pub struct MetricsFiles {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl MetricsFiles {
    /// Writes a row for each resource of the fleet at each turn of `every` into the folder's two files, which are made.
    ///
    /// # Errors
    /// Where there can be no thread. What is wrong with the disk is logged.
    pub fn start(folder: &Path, every: Duration, fleet: Arc<Fleet>) -> io::Result<MetricsFiles> {
        let (stop, stopped) = mpsc::channel();
        let mut writer = Writer::new(folder, Instant::now());
        let folder = folder.to_owned();
        let thread = thread::Builder::new().name("metrics files".into()).spawn(move || {
            if let Err(e) = fs::create_dir_all(&folder) {
                warn!("cannot make {} for the metrics files: {}", folder.display(), plain(e));
            }
            loop {
                let over = !matches!(stopped.recv_timeout(every), Err(mpsc::RecvTimeoutError::Timeout));
                writer.turn(figures(&fleet), Instant::now(), Timestamp::now());
                if over {
                    return;
                }
            }
        })?;
        Ok(MetricsFiles { stop, thread })
    }

    /// Writes what has gone through since the last rows, and waits for that as long as a disk needs that works.
    pub fn end(self) {
        drop(self.stop);
        let deadline = Instant::now() + LAST;
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }
}

/// What has gone through a resource.
#[derive(Clone, Debug)]
struct Figure {
    kind: Kind,
    name: ObjectName,
    /// It goes to Kafka.
    produces: bool,
    /// Frames that are safe: acknowledged, or written.
    safe: u64,
}

fn figures(fleet: &Fleet) -> Vec<Figure> {
    let figure = |member: &Arc<crate::run::fleet::Member>| {
        let overview = member.work.overview();
        let (kind, name) = (member.state.kind, member.state.name.clone());
        Figure { kind, name, produces: overview.came.is_some(), safe: overview.safe }
    };
    fleet.members().iter().map(figure).collect()
}

/// What the last row of a resource told.
#[derive(Clone, Copy, Debug)]
struct Told {
    safe: u64,
    at: Instant,
}

/// One of the two files.
struct File {
    sheet: Sheet,
    produces: bool,
    told: HashMap<(Kind, ObjectName), Told>,
    /// When rows were written last: what is new has begun since.
    last: Instant,
    fails: bool,
}

struct Writer {
    files: [File; 2],
}

impl Writer {
    fn new(folder: &Path, now: Instant) -> Self {
        let file = |name: &str, head, produces| File {
            sheet: Sheet::new(folder.join(name), head),
            produces,
            told: HashMap::new(),
            last: now,
            fails: false,
        };
        Writer { files: [file("producer_metrics.csv", PRODUCER, true), file("consumer_metrics.csv", CONSUMER, false)] }
    }

    fn turn(&mut self, figures: Vec<Figure>, now: Instant, time: Timestamp) {
        for file in &mut self.files {
            let own: Vec<&Figure> = figures.iter().filter(|figure| figure.produces == file.produces).collect();
            file.turn(&own, now, time);
        }
    }
}

impl File {
    fn turn(&mut self, figures: &[&Figure], now: Instant, time: Timestamp) {
        let key = |figure: &Figure| (figure.kind, figure.name.clone());
        let rows: String = figures.iter().map(|figure| self.row(figure, now, time)).collect();
        if rows.is_empty() {
            return;
        }
        match self.sheet.append(&rows, time) {
            Ok(()) => {
                self.told = figures.iter().map(|f| (key(f), Told { safe: f.safe, at: now })).collect();
                self.last = now;
                if std::mem::replace(&mut self.fails, false) {
                    info!("{} is written again", self.sheet.path().display());
                }
            }
            Err(e) if !self.fails => {
                self.fails = true;
                warn!("cannot write {}: {}; it is tried again", self.sheet.path().display(), plain(e));
            }
            Err(_) => {}
        }
    }

    fn row(&self, figure: &Figure, now: Instant, time: Timestamp) -> String {
        let Figure { kind, name, safe, .. } = figure;
        let told = self.told.get(&(*kind, name.clone())).copied().unwrap_or(Told { safe: 0, at: self.last });
        // One that was taken out and came back counts from zero.
        let total = safe.checked_sub(told.safe).unwrap_or(*safe);
        let seconds = now.duration_since(told.at).as_secs_f64();
        let latency = if total == 0 { String::new() } else { format!("{:.6}", seconds / total as f64) };
        let throughput = if seconds > 0.0 { total as f64 / seconds } else { 0.0 };
        let time = time.strftime("%Y-%m-%d %H:%M:%S");
        format!("{total},{seconds:.2},{latency},{throughput:.2},{time},{name}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, produces: bool, safe: u64) -> Figure {
        let kind = if produces { Kind::CameraStream } else { Kind::FrameSink };
        Figure { kind, name: ObjectName { namespace: "lab".into(), name: name.into() }, produces, safe }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(1_726_000_000 + second as i64).expect("a time")
    }

    fn read(folder: &Path, name: &str) -> Vec<String> {
        fs::read_to_string(folder.join(name)).expect("there").lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn each_row_tells_what_went_through_since_the_one_before_in_the_scripts_columns() {
        let (folder, start) = (tempfile::tempdir().expect("a folder"), Instant::now());
        let second = Duration::from_secs;
        let mut writer = Writer::new(folder.path(), start);
        writer.turn(vec![figure("gate", true, 192), figure("files", false, 0)], start + second(2), at(2));
        // Another sink began meanwhile, and the camera was taken out and came back.
        let all = vec![figure("gate", true, 30), figure("files", false, 600), figure("more", false, 3)];
        writer.turn(all, start + second(62), at(62));
        assert_eq!(
            read(folder.path(), "producer_metrics.csv"),
            [
                "Total Processed Images,Total Time (s),Average Latency (s),Throughput (images/s),Time (UTC),Resource",
                "192,2.00,0.010417,96.00,2024-09-10 20:26:42,lab/gate",
                "30,60.00,2.000000,0.50,2024-09-10 20:27:42,lab/gate",
            ]
        );
        assert_eq!(
            read(folder.path(), "consumer_metrics.csv"),
            [
                "Total Processed Messages,Total Time (s),Average Latency (s),Throughput (messages/s),Time (UTC),Resource",
                "0,2.00,,0.00,2024-09-10 20:26:42,lab/files",
                "600,60.00,0.100000,10.00,2024-09-10 20:27:42,lab/files",
                "3,60.00,20.000000,0.05,2024-09-10 20:27:42,lab/more",
            ]
        );
    }

    #[test]
    fn what_could_not_be_written_is_in_the_next_row_that_could() {
        let (folder, start) = (tempfile::tempdir().expect("a folder"), Instant::now());
        let out = folder.path().join("out");
        let mut writer = Writer::new(&out, start);
        writer.turn(vec![figure("gate", true, 10)], start + Duration::from_secs(60), at(60));
        assert!(!out.exists(), "a folder that is gone is not made anew on another disk");
        fs::create_dir(&out).expect("made");
        writer.turn(vec![figure("gate", true, 25)], start + Duration::from_secs(120), at(120));
        let rows = read(&out, "producer_metrics.csv");
        assert_eq!(rows[1..], ["25,120.00,4.800000,0.21,2024-09-10 20:28:40,lab/gate"]);
    }
}
