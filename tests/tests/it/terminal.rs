//! `edgereel run` on a terminal: the table at every size, its end, and a terminal that goes away.

use std::{path::Path, process::Command, time::Duration};

use edgereel_tests::{
    edgereel_bin, free_port, kafka,
    process::{Guarded, Signal},
    resources, scratch,
    synthetic::Cameras,
    terminal::Terminal,
    unique, wait,
};
use serde_json::{Value, json};

use crate::support::{assert_verified, contents, jpeg_files};

fn synthetic(name: &str, topic: &str) -> Value {
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    resources::camera(name, source, topic, json!({"frameRate": {"target": 10}}))
}

fn write(documents: Vec<Value>) -> std::path::PathBuf {
    let connection = resources::connection(kafka::shared().bootstrap());
    resources::write(&[vec![connection], documents].concat())
}

fn run(file: &Path) -> Command {
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "-f"]).arg(file);
    command
}

/// The table's head and rows, as they stand at the end of the screen.
fn table(lines: &[String]) -> Vec<String> {
    let head = lines.iter().rposition(|line| line.starts_with("NAME ") || line == "NAME");
    head.map_or_else(Vec::new, |head| lines[head..].to_vec())
}

fn heads(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with("NAME")).count()
}

#[test]
fn the_table_fits_every_window_and_leaves_nothing_behind_when_it_is_resized() {
    let topic = unique("table");
    let dead =
        |n: u16| resources::mjpeg_camera(&format!("dead{n}"), &format!("http://127.0.0.1:{}", free_port()), &topic);
    let mut cameras: Vec<Value> = (0..25).map(|n| synthetic(&format!("camera-{n:02}"), &topic)).collect();
    cameras.extend((0..3).map(dead));
    let terminal = Terminal::run(run(&write(cameras)), 80, 24);
    let seen = terminal.await_lines("those in trouble are shown", |lines| {
        table(lines).iter().filter(|line| line.contains("CameraUnreachable")).count() == 3
    });
    let rows = table(&seen);
    assert_eq!(rows.len(), 23, "{rows:#?}");
    assert!(rows[0].split_whitespace().take(6).eq(["NAME", "STATE", "FPS", "STORED", "LAG", "DROPPED"]), "{}", rows[0]);
    assert!(rows[22].starts_with('+') && rows[22].ends_with(" more (make the window higher)"), "{}", rows[22]);
    let dead = rows.iter().position(|row| row.starts_with("dead2 ")).expect("dead2");
    let first_good = rows.iter().position(|row| row.starts_with("camera-")).expect("one that works");
    assert!(rows[1].starts_with("dead0 ") && dead < first_good, "{rows:#?}");
    assert!(rows[dead + 1].contains(" ago: http://127.0.0.1:"), "{rows:#?}");
    for (columns, lines) in [(40, 24), (120, 40), (60, 10), (200, 50), (80, 24)] {
        terminal.resize(columns, lines);
        let room = usize::from(lines) - 1;
        let seen = terminal.await_lines("the table fits the new size", |seen| {
            let rows = table(seen);
            let narrow = rows.iter().all(|row| row.chars().count() < usize::from(columns));
            let whole = rows.len() == room || rows.len() >= 29;
            heads(seen) == 1 && narrow && whole && rows.iter().any(|row| row.starts_with("dead2 "))
        });
        assert_eq!(seen.iter().filter(|line| line.starts_with("camera-00 ")).count(), 1, "debris in {seen:#?}");
    }
}

#[test]
fn what_never_worked_says_why_at_the_end() {
    let topic = unique("never");
    let sink = resources::sink("files", &topic, jpeg_files(""), &scratch::dir("disk").join("not-mounted"), json!({}));
    let camera = resources::mjpeg_camera("dead", &format!("http://127.0.0.1:{}", free_port()), &topic);
    let terminal = Terminal::run(run(&write(vec![camera, sink])), 160, 24);
    terminal.await_lines("both say what is wrong", |lines| {
        let rows = table(lines);
        ["CameraUnreachable", "StorageMissing"].iter().all(|reason| rows.iter().any(|row| row.contains(reason)))
    });
    terminal.type_in("\x03");
    assert!(terminal.child().wait(Duration::from_secs(30)).expect("it ends").success());
    let seen =
        terminal.await_lines("a summary", |lines| lines.iter().any(|line| line.starts_with("FrameSink/files: ")));
    let seen = seen.concat();
    for words in [
        "; not ready at the end: CameraUnreachable: http://127.0.0.1:",
        "; not ready at the end: StorageMissing: spec.storage:",
        "puts another in its place",
    ] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
}

#[test]
fn a_hangup_ends_the_synthetic_cameras_in_order_unless_nohup_keeps_them() {
    let cameras = Cameras::start(&[]);
    cameras.child().signal(Signal::SIGHUP);
    assert!(cameras.child().wait(Duration::from_secs(30)).expect("it ends").success());
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("nohup");
    command.arg(edgereel_bin()).args(["camera", "--listen", &address]);
    let kept = Guarded::spawn("nohup", command).expect("started");
    let answers = || reqwest::blocking::get(format!("http://{address}/healthz")).is_ok_and(|a| a.status().is_success());
    wait::until("it serves", Duration::from_secs(60), answers);
    kept.signal(Signal::SIGHUP);
    assert!(answers() && kept.running());
    assert!(kept.terminate(Duration::from_secs(30)).expect("it ends").success());
}

#[test]
fn ctrl_c_ends_with_what_was_done_and_where_the_frames_lie() {
    let (topic, disk) = (unique("summary"), scratch::dir("disk"));
    let sink = resources::sink("files", &topic, jpeg_files("frames"), &disk, json!({}));
    let file = write(vec![synthetic("cam", &topic), sink]);
    let terminal = Terminal::run(run(&file), 160, 24);
    wait::until("frames are stored", Duration::from_secs(60), || contents(&disk, ".jpg").len() >= 10);
    terminal.type_in("\x03");
    assert!(terminal.child().wait(Duration::from_secs(30)).expect("it ends").success());
    let seen =
        terminal.await_lines("it says what it did", |lines| lines.iter().any(|line| line.contains("all stopped")));
    let line = |start: &str| seen.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{seen:#?}"));
    assert!(line("CameraStream/cam: ").contains(&format!(" in topic {topic}")), "{seen:#?}");
    let stored = format!("FrameSink/files: {} frames (", contents(&disk, ".jpg").len());
    assert!(line(&stored).contains(&format!(" stored in {}", disk.join("frames").display())), "{seen:#?}");
    assert_eq!(heads(&seen), 0, "the table is taken away: {seen:#?}");
    assert_verified(&file);
}

#[test]
fn a_terminal_that_goes_away_ends_it_in_order_and_sighup_alone_does_not() {
    let (topic, disk) = (unique("hangup"), scratch::dir("disk"));
    let sink = resources::sink("files", &topic, jpeg_files("frames"), &disk, json!({}));
    let file = write(vec![synthetic("cam", &topic), sink]);
    let mut terminal = Terminal::run(run(&file), 160, 24);
    wait::until("frames are stored", Duration::from_secs(60), || contents(&disk, ".jpg").len() >= 10);
    terminal.child().signal(Signal::SIGHUP);
    terminal.await_lines("it reads its files again", |lines| lines.iter().any(|line| line.contains("undisturbed=2")));
    assert!(terminal.child().running());
    terminal.hang_up();
    let ended = terminal.child().wait(Duration::from_secs(30)).expect("it ends");
    assert!(ended.success(), "not in order: {ended:?}");
    assert_verified(&file);
}

#[test]
fn under_nohup_it_outlives_its_terminal() {
    let (topic, disk) = (unique("nohup"), scratch::dir("disk"));
    let sink = resources::sink("files", &topic, jpeg_files("frames"), &disk, json!({}));
    let mut command = Command::new("nohup");
    command.arg(edgereel_bin()).args(["run", "--http", "off", "-f"]);
    command.arg(write(vec![synthetic("cam", &topic), sink])).current_dir(&disk);
    let mut terminal = Terminal::run(command, 80, 24);
    wait::until("frames are stored", Duration::from_secs(60), || contents(&disk, ".jpg").len() >= 10);
    terminal.hang_up();
    let before = contents(&disk, ".jpg").len();
    wait::until("it goes on", Duration::from_secs(60), || contents(&disk, ".jpg").len() > before + 20);
    let child: &Guarded = terminal.child();
    assert!(child.terminate(Duration::from_secs(30)).expect("ends").success());
}
