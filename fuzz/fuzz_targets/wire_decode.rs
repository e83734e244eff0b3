//! A record of any producer: reading it never panics, and what is read is a whole picture.
#![no_main]

use bytes::Bytes;
use edgereel_crds::frame_sink::SinkFormat;
use edgereel_frame::{picture::inspect, wire::{ANNOTATION, CE_SEQUENCE, CE_SOURCE, CE_TIME, RecordView, Take, decode}};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (header, value) = data.split_at(data.len().min(16));
    let bytes = Bytes::copy_from_slice(header);
    let named = [CE_TIME, CE_SOURCE, CE_SEQUENCE, ANNOTATION].map(|name| (Bytes::from(name), Some(bytes.clone())));
    let headers = [&[(bytes.clone(), None)][..], &named].concat();
    let timestamp = header.first_chunk().copied().map(i64::from_be_bytes);
    for format in [SinkFormat::Auto, SinkFormat::Jpeg, SinkFormat::Json] {
        let record = RecordView {
            value: Some(Bytes::copy_from_slice(value)),
            headers: &headers,
            key: Some(header),
            timestamp,
        };
        for take in [Take::Frames, Take::Labelled] {
            if let Ok(frame) = decode(&record, format, take) {
                assert_eq!(inspect(&frame.picture), Ok(frame.info));
            }
        }
    }
});
