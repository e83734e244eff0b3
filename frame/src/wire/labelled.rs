//! A picture of a folder as a record: its own bytes, with its name and what it shows in headers, or both in JSON.

use bytes::Bytes;
use edgereel_crds::common::FrameFormat;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    ANNOTATION, CE_ID, CE_SOURCE, CE_SPECVERSION, CE_TIME, CE_TYPE, CONTENT_TYPE, EVENT_TYPE, Encoded, FILE,
    FrameEncoder, json_value,
};
use crate::picture::Kind;

/// A picture of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The file's bytes.
    pub picture: Bytes,
    /// What they are.
    pub kind: Kind,
    /// The record's `ce_id`: the same for the same file, whoever sends it and however often.
    pub id: String,
    /// When it was made.
    pub captured_at: Timestamp,
    /// What it shows.
    pub annotation: Option<String>,
    /// The file's path, as seen from the folder.
    pub file: String,
}

/// The JSON of one behind its picture, in the order in which people read it.
#[derive(Serialize)]
struct Json<'a> {
    timestamp: &'a str,
    size: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation: Option<&'a str>,
    file: &'a str,
}

impl FrameEncoder {
    /// The record of a picture of a folder. With the format `jpeg` the value is the picture, whatever its kind.
    pub fn encode_labelled(&self, labelled: &Labelled) -> Encoded {
        let Labelled { picture, kind, id, captured_at, annotation, file } = labelled;
        let time = format!("{captured_at:.6}");
        let json = || {
            let size = (picture.len() as f64 / 1024.0 * 100.0).round() / 100.0;
            let annotation = annotation.as_deref();
            let members = serde_json::to_string(&Json { timestamp: &time, size, annotation, file }).unwrap_or_default();
            json_value(picture, members.trim_start_matches('{'))
        };
        let (media_type, value) = match self.format {
            FrameFormat::Jpeg => (kind.media_type(), picture.clone()),
            FrameFormat::Json => ("application/json", json()),
        };
        let mut headers = vec![
            (CONTENT_TYPE, media_type.to_owned()),
            (CE_SPECVERSION, "1.0".to_owned()),
            (CE_ID, id.clone()),
            (CE_SOURCE, self.source.clone()),
            (CE_TYPE, EVENT_TYPE.to_owned()),
            (CE_TIME, time),
        ];
        headers.extend(annotation.clone().map(|annotation| (ANNOTATION, annotation)));
        headers.push((FILE, file.clone()));
        Encoded { value, headers }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{frame_sink::SinkFormat, name::ObjectName};

    use super::*;
    use crate::{
        samples::{picture, png, webp},
        wire::{Header, RecordView, Take, decode},
    };

    #[test]
    fn a_labelled_picture_comes_back_as_it_was_in_both_formats() {
        let camera = ObjectName { namespace: "lab".into(), name: "labels".into() };
        let annotations = [None, Some("a, \"b\""), Some("zwei\nZeilen ü"), Some("")];
        let pictures = [(Kind::Jpeg, picture(16, 16, 1)), (Kind::Png, png("a")), (Kind::WebP, webp("b"))];
        for (kind, bytes) in pictures {
            for annotation in annotations {
                for format in [FrameFormat::Jpeg, FrameFormat::Json] {
                    let labelled = Labelled {
                        picture: bytes.clone().into(),
                        kind,
                        id: "0123".into(),
                        captured_at: "2024-09-10T10:30:00.123456Z".parse().expect("a time"),
                        annotation: annotation.map(str::to_owned),
                        file: "a b/ü.png".into(),
                    };
                    let Encoded { value, headers } = FrameEncoder::new(&camera, "", format).encode_labelled(&labelled);
                    let headers: Vec<Header> =
                        headers.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
                    let of = |headers: &[Header], value: &Bytes| {
                        let view = RecordView { value: Some(value.clone()), headers, key: None, timestamp: None };
                        decode(&view, SinkFormat::Auto, Take::Labelled).expect("a picture")
                    };
                    let read = of(&headers, &value);
                    assert_eq!((&read.picture, read.info.kind), (&labelled.picture, kind));
                    assert_eq!(read.captured_at, labelled.captured_at);
                    assert_eq!(read.label.annotation.as_deref(), annotation);
                    assert_eq!(read.label.file.as_deref(), Some("a b/ü.png"));
                    if format == FrameFormat::Json {
                        assert_eq!(of(&[], &value).label, read.label, "the JSON says all of it");
                    }
                }
            }
        }
    }
}
