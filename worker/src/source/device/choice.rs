//! Which of what a camera offers is taken.

use edgereel_crds::{
    camera_stream::CameraStreamSpec,
    device::{DeviceFormat, DeviceSource},
};
use v4l2r::PixelFormat;

use super::offer::{Interval, Mode, Offer, Size};

/// Pictures a second where `frameRate.target` does not say.
const USUAL_RATE: f64 = 30.0;
/// The largest picture that is taken unless a larger one is asked for: what `encoding.maxFrameBytes` and a topic's limits are
/// made for.
const USUAL_SIZE: Size = Size(1280, 720);

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// How pictures come.
    pub format: DeviceFormat,
    /// Their size.
    pub size: Option<Size>,
    /// How many a second.
    pub rate: f64,
}

impl Wanted {
    /// What a resource asks for.
    pub fn of(source: &DeviceSource, camera: &CameraStreamSpec) -> Self {
        let size = source.pixels().map(|(width, height)| Size(width, height));
        Wanted { format: source.format, size, rate: camera.frame_rate.target.unwrap_or(USUAL_RATE) }
    }

    /// Anything.
    pub fn anything() -> Self {
        Wanted { format: DeviceFormat::Auto, size: None, rate: USUAL_RATE }
    }
}

/// What is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// How pictures come.
    pub format: DeviceFormat,
    /// The same in V4L2's code.
    pub code: PixelFormat,
    /// Their size.
    pub size: Size,
    /// How often they come, where that can be set.
    pub interval: Option<Interval>,
}

/// What a camera does not offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOffered {
    /// The field that asks for it; none where nothing of all that it offers can be captured.
    pub field: Option<&'static str>,
    /// What is wrong, what it offers, and what to do.
    pub message: String,
}

/// Takes the best of what is offered and wanted: JPEG before raw pictures, then what comes as often as is wanted, then the
/// largest of the usual sizes, then the format with the least work.
///
/// # Errors
/// The format or the size is not offered.
pub fn choose(offer: &Offer, wanted: &Wanted) -> Result<Choice, NotOffered> {
    let refused = |field, message: String| Err(NotOffered { field, message });
    if offer.modes.is_empty() {
        let message = match offer.others.as_slice() {
            [] => {
                "it offers no pictures: is it a camera, and if it is virtual, does a program write into it?".to_owned()
            }
            others => format!("it offers {}, of which nothing can be captured", others.join(", ")),
        };
        return refused(None, message);
    }
    let is_wanted = |mode: &&Mode| wanted.format == DeviceFormat::Auto || mode.format == wanted.format;
    let formats: Vec<&Mode> = offer.modes.iter().filter(is_wanted).collect();
    if formats.is_empty() {
        let there =
            offer.formats().iter().map(|format| format!("`{}`", format.as_str())).collect::<Vec<_>>().join(", ");
        let message = format!("`{}` is not offered: take {there}, or `auto`", wanted.format.as_str());
        return refused(Some("format"), message);
    }
    let sized = formats.into_iter().filter(|mode| wanted.size.is_none_or(|size| mode.size == size));
    let Some(mode) = sized.min_by_key(|mode| worse(mode, wanted.rate)) else {
        let size = wanted.size.unwrap_or(USUAL_SIZE);
        return refused(Some("size"), format!("`{size}` is not offered: take one of {offer}"));
    };
    let Mode { code, format, size, .. } = *mode;
    Ok(Choice { format, code, size, interval: mode.rates.nearest(wanted.rate) })
}

/// What makes a mode worse, the weightiest first.
fn worse(mode: &Mode, rate: f64) -> impl Ord + use<> {
    let raw = mode.format != DeviceFormat::Mjpeg;
    let Size(width, height) = mode.size;
    let unusual = width > USUAL_SIZE.0 || height > USUAL_SIZE.1;
    let pixels = i128::from(width) * i128::from(height);
    // Of the usual ones the largest, of the others the smallest.
    (raw, !mode.rates.reach(rate), unusual, if unusual { pixels } else { -pixels }, mode.rank, width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::offer::Rates, *};

    fn mode(code: &[u8; 4], width: u32, height: u32, rates: &[u32]) -> Mode {
        let rates = rates.iter().filter_map(|rate| Interval::new(1, *rate)).collect();
        Mode::new(code.into(), Size(width, height), Rates::Of(rates)).expect("a known code")
    }

    fn wanted(format: DeviceFormat, size: Option<Size>, rate: f64) -> Wanted {
        Wanted { format, size, rate }
    }

    /// What most webcams are like: over USB 2, raw pictures that are large come seldom.
    fn webcam() -> Offer {
        let modes = vec![
            mode(b"YUYV", 640, 480, &[30, 15]),
            mode(b"YUYV", 1280, 720, &[10, 5]),
            mode(b"YUYV", 1920, 1080, &[5]),
            mode(b"MJPG", 640, 480, &[30, 60]),
            mode(b"MJPG", 1280, 720, &[30, 25, 15]),
            mode(b"MJPG", 1920, 1080, &[30]),
        ];
        Offer { modes, others: vec!["H264".into()] }
    }

    /// `mjpeg 1280x720 30`: what is chosen, in words.
    fn chosen(offer: &Offer, wanted: &Wanted) -> String {
        match choose(offer, wanted) {
            Ok(choice) => {
                let rate = choice.interval.map_or(0.0, Interval::rate);
                format!("{} {} {rate:.0}", choice.format.as_str(), choice.size)
            }
            Err(NotOffered { field, message }) => format!("{}: {message}", field.unwrap_or_default()),
        }
    }

    #[test]
    fn of_a_webcam_the_best_is_taken_that_comes_as_often_as_is_wanted() {
        use DeviceFormat::{Auto, Mjpeg, Nv12, Yuyv};
        let hd = Some(Size(1920, 1080));
        for (wanted, expected) in [
            (wanted(Auto, None, 30.0), "mjpeg 1280x720 30"),
            (wanted(Auto, None, 10.0), "mjpeg 1280x720 15"),
            (wanted(Auto, None, 26.0), "mjpeg 1280x720 30"),
            (wanted(Auto, None, 60.0), "mjpeg 640x480 60"),
            (wanted(Auto, None, 100.0), "mjpeg 1280x720 30"),
            (wanted(Auto, hd, 30.0), "mjpeg 1920x1080 30"),
            (wanted(Mjpeg, Some(Size(640, 480)), 1.0), "mjpeg 640x480 30"),
            (wanted(Yuyv, None, 30.0), "yuyv 640x480 30"),
            (wanted(Yuyv, None, 8.0), "yuyv 1280x720 10"),
            (wanted(Yuyv, hd, 30.0), "yuyv 1920x1080 5"),
            (wanted(Nv12, None, 30.0), "format: `nv12` is not offered: take `mjpeg`, `yuyv`, or `auto`"),
            (
                wanted(Auto, Some(Size(800, 600)), 30.0),
                "size: `800x600` is not offered: take one of mjpeg/yuyv 1920x1080, 1280x720, 640x480",
            ),
        ] {
            assert_eq!(chosen(&webcam(), &wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn what_has_no_format_that_can_be_captured_says_what_it_has() {
        let other = Offer { modes: vec![], others: vec!["H264".into(), "BA81".into()] };
        assert_eq!(chosen(&other, &Wanted::anything()), ": it offers H264, BA81, of which nothing can be captured");
        assert!(
            chosen(&Offer::default(), &Wanted::anything()).contains("it offers no pictures"),
            "a device that offers nothing"
        );
    }

    #[test]
    fn of_raw_formats_colours_and_the_least_work_come_first_and_of_large_sizes_the_smallest() {
        let raw = [b"GREY", b"RGB3", b"YUYV", b"YU12"].map(|code| mode(code, 640, 480, &[30])).to_vec();
        assert_eq!(chosen(&Offer { modes: raw, others: vec![] }, &Wanted::anything()), "yu12 640x480 30");
        let large = vec![mode(b"YUYV", 3840, 2160, &[30]), mode(b"YUYV", 1920, 1080, &[30])];
        assert_eq!(chosen(&Offer { modes: large, others: vec![] }, &Wanted::anything()), "yuyv 1920x1080 30");
    }

    #[test]
    fn thirty_is_what_cameras_call_so() {
        let ntsc = Rates::Of(
            [(1001, 30_000), (1, 60)].into_iter().filter_map(|(parts, of)| Interval::new(parts, of)).collect(),
        );
        assert_eq!(ntsc.nearest(30.0).map(Interval::fraction), Some((1001, 30_000)));
    }

    #[test]
    fn where_any_rate_can_be_set_it_is_the_one_that_is_wanted() {
        let [slow, fast] = [5, 60].map(|rate| Interval::new(1, rate).expect("a time"));
        let rates = Rates::Between(slow, fast);
        let set = |wanted: f64| rates.nearest(wanted).map(Interval::rate);
        assert_eq!((set(12.5), set(1.0), set(100.0)), (Some(12.5), Some(5.0), Some(60.0)));
        assert_eq!(Rates::Unknown.nearest(30.0), None);
    }

    fn any_offer() -> impl Strategy<Value = Offer> {
        let code = prop::sample::select(vec![*b"MJPG", *b"JPEG", *b"NV12", *b"YUYV", *b"GREY"]);
        let rates = prop_oneof![
            prop::collection::vec((0u32..2000, 0u32..120), 0..4).prop_map(|all| Rates::Of(
                all.into_iter().filter_map(|(parts, of)| Interval::new(parts, of)).collect()
            )),
            Just(Rates::Unknown),
        ];
        let mode = (code, 1u32..5000, 1u32..5000, rates)
            .prop_filter_map("known", |(code, w, h, rates)| Mode::new((&code).into(), Size(w, h), rates));
        prop::collection::vec(mode, 0..12).prop_map(|modes| Offer { modes, others: vec![] })
    }

    proptest! {
        #[test]
        fn what_is_taken_is_offered_and_wanted_and_nothing_better_is(
            offer in any_offer(), rate in 0.001f64..1000.0, sized in any::<bool>(), pick in any::<prop::sample::Index>(),
            format in prop::sample::select(vec![DeviceFormat::Auto, DeviceFormat::Mjpeg, DeviceFormat::Yuyv, DeviceFormat::Rgb24]),
        ) {
            let size = (sized && !offer.modes.is_empty()).then(|| offer.modes[pick.index(offer.modes.len())].size);
            let wanted = Wanted { format, size, rate };
            let fits = |mode: &&Mode| (format == DeviceFormat::Auto || mode.format == format) && size.is_none_or(|s| s == mode.size);
            match choose(&offer, &wanted) {
                Err(_) => prop_assert_eq!(offer.modes.iter().filter(fits).count(), 0),
                Ok(choice) => {
                    let same = |mode: &&Mode| mode.code == choice.code && mode.size == choice.size;
                    prop_assert!(offer.modes.iter().filter(fits).any(|mode| same(&mode)));
                    prop_assert!(choice.interval.is_none_or(|interval| interval.rate().is_finite()));
                    // JPEG is never passed over for raw pictures.
                    let jpeg = offer.modes.iter().filter(fits).any(|mode| mode.format == DeviceFormat::Mjpeg);
                    prop_assert_eq!(choice.format == DeviceFormat::Mjpeg, jpeg);
                }
            }
        }

        #[test]
        fn a_rate_is_enough_where_one_is_and_else_the_fastest(
            rates in prop::collection::vec((1u32..2000, 1u32..120), 1..6), wanted in 0.001f64..1000.0,
        ) {
            let all: Vec<Interval> = rates.into_iter().filter_map(|(parts, of)| Interval::new(parts, of)).collect();
            let fastest = all.iter().map(|interval| interval.rate()).fold(0.0, f64::max);
            let taken = Rates::Of(all).nearest(wanted).expect("there is one").rate();
            prop_assert!(taken >= wanted * 0.99 || taken == fastest, "{taken} of {wanted}, {fastest} at most");
        }
    }
}
