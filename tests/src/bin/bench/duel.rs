//! Comparisons: each side runs once a round, in turn, so that what else the machine does meets all sides alike.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    Bench,
    sides::{self, Sink},
};

/// One side of a comparison: its name, and a run that gives CPU milliseconds for each frame.
type Side<'a> = (&'a str, Box<dyn FnMut() -> Result<f64> + 'a>);

/// HTTP camera to acknowledged in Kafka.
pub fn capture(bench: &Bench, rounds: usize) -> Result<Value> {
    let source = sides::MjpegSource::start(bench)?;
    let sides: Vec<Side> = vec![
        ("edgereel, passthrough", Box::new(|| sides::edgereel_capture(bench, &source.url, 3000))),
        ("python, raw bytes", Box::new(|| sides::python_capture(bench, &source.url, "raw", 3000))),
        ("python, decode and encode", Box::new(|| sides::python_capture(bench, &source.url, "cv2", 300))),
    ];
    compare("camera → Kafka", sides, rounds)
}

/// Kafka to JPEG files.
pub fn jpeg_files(bench: &Bench, rounds: usize) -> Result<Value> {
    let topic = sides::fill(bench, 3000, false)?;
    let sides: Vec<Side> = vec![
        ("edgereel, durable", Box::new(|| sides::edgereel_sink(bench, &topic, Sink::JpegFiles, 3000))),
        ("python, raw bytes, not durable", Box::new(|| sides::python_jpeg(bench, &topic, "raw", 3000))),
        ("python, decode and encode", Box::new(|| sides::python_jpeg(bench, &topic, "cv2", 300))),
    ];
    compare("Kafka → JPEG files", sides, rounds)
}

/// Kafka to video.
pub fn archive(bench: &Bench, rounds: usize) -> Result<Value> {
    let topic = sides::fill(bench, 3000, false)?;
    let json = sides::fill(bench, 600, true)?;
    let sides: Vec<Side> = vec![
        ("edgereel, MJPEG", Box::new(|| sides::edgereel_sink(bench, &topic, Sink::Mjpeg, 3000))),
        ("edgereel, XVID", Box::new(|| sides::edgereel_sink(bench, &json, Sink::Xvid, 600))),
        ("python, XVID", Box::new(|| sides::python_avi(bench, &topic, "binary", 300))),
        ("python, XVID from JSON", Box::new(|| sides::python_avi(bench, &json, "json", 300))),
    ];
    compare("Kafka → video", sides, rounds)
}

/// A folder of labelled pictures to acknowledged in Kafka.
pub fn folder(bench: &Bench, rounds: usize) -> Result<Value> {
    let folder = sides::folder(bench, 3000)?;
    let sides: Vec<Side> = vec![
        ("edgereel, each once", Box::new(|| sides::edgereel_folder(bench, &folder, "jpeg", 3000))),
        ("edgereel, JSON, each once", Box::new(|| sides::edgereel_folder(bench, &folder, "json", 3000))),
        ("python, confluent-kafka", Box::new(|| sides::python_folder(bench, &folder, "confluent", 1000))),
        ("python, kafka-python", Box::new(|| sides::python_folder(bench, &folder, "kafka-python", 300))),
    ];
    compare("folder → Kafka", sides, rounds)
}

/// Runs the sides in turn and prints a row for each; the first is ours.
fn compare(what: &str, mut sides: Vec<Side>, rounds: usize) -> Result<Value> {
    let mut figures: Vec<Vec<f64>> = vec![vec![]; sides.len()];
    for round in 0..rounds {
        for ((name, run), figures) in sides.iter_mut().zip(&mut figures) {
            let cpu = run()?;
            eprintln!("bench: {what}, round {}: {name}: {cpu:.3} ms", round + 1);
            figures.push(cpu);
        }
    }
    let ours = median(&figures[0]);
    let rows = sides.iter().zip(&figures).map(|((name, _), figures)| {
        let (low, high) = figures.iter().fold((f64::MAX, 0.0f64), |(l, h), f| (l.min(*f), h.max(*f)));
        let times = median(figures) / ours;
        println!("| {what} | {name} | {:.3} ({low:.3}..{high:.3}) | {times:.1} |", median(figures));
        json!({"side": name, "cpuMs": figures, "median": median(figures), "timesOurs": times})
    });
    Ok(rows.collect())
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
