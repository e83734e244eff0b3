//! The results as a picture: bars side by side, each with its number. An SVG, which browsers show and documents take.

use super::results::Row;

/// Of the whole picture, in pixels.
const WIDTH: f64 = 900.0;
/// Where the bars begin.
const LEFT: f64 = 330.0;
/// How long the longest is: its number has room behind it.
const LONGEST: f64 = 450.0;
/// From one setting to the next.
const STEP: f64 = 64.0;
/// Where the first begins.
const TOP: f64 = 84.0;
/// How thick a bar is.
const BAR: f64 = 22.0;
/// Of the producer's and of the consumer's bars; told apart without colours too, one is darker.
const COLOURS: [&str; 2] = ["#1f5a96", "#e8a33d"];

/// Throughput in records a second, two bars for each setting.
pub fn svg(rows: &[Row]) -> String {
    let height = TOP + STEP * rows.len() as f64 + 16.0;
    let most = rows.iter().flat_map(|row| [row.producer_throughput(), row.consumer_throughput()]).fold(1.0, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"14\">\n<title>Kafka throughput by producer setting</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"32\" font-size=\"20\">Kafka throughput, messages per second</text>\n"
    );
    for (n, (word, colour)) in ["producer", "consumer"].iter().zip(COLOURS).enumerate() {
        let x = LEFT + 110.0 * n as f64;
        svg += &format!("<rect x=\"{x}\" y=\"50\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\n");
        svg += &text(x + 20.0, 62.0, "start", word);
    }
    for (n, row) in rows.iter().enumerate() {
        let y = TOP + STEP * n as f64;
        svg += &text(LEFT - 12.0, y + BAR + 5.0, "end", &row.setting.to_string());
        for (at, number) in [row.producer_throughput(), row.consumer_throughput()].into_iter().enumerate() {
            let (y, width) = (y + BAR * at as f64, LONGEST * number / most);
            let colour = COLOURS[at];
            svg += &format!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n");
            svg += &text(LEFT + width + 8.0, y + BAR - 6.0, "start", &format!("{number:.0}"));
        }
    }
    svg + "</svg>\n"
}

/// A text; ours have none of the characters that XML has another use for.
fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::{super::results::tests::row, *};

    #[test]
    fn each_setting_has_its_name_and_two_bars_with_their_numbers() {
        let mut faster = row();
        faster.producing /= 2;
        let svg = svg(&[row(), faster]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches(">16384 bytes, 0 ms, none, 4 partitions<").count(), 2, "{svg}");
        for number in [">128<", ">13<", ">257<"] {
            assert!(svg.contains(number), "no {number} in {svg}");
        }
        // The longest bar is as long as there is room.
        assert!(svg.contains("width=\"450.0\"") && svg.contains("width=\"225.0\""), "{svg}");
    }

    #[test]
    fn no_results_are_an_empty_picture() {
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
