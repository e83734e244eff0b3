//! A record of any producer: reading it never panics, and what is read is a whole JPEG.
#![no_main]

use bytes::Bytes;
use edgereel_crds::frame_sink::SinkFormat;
use edgereel_frame::{jpeg::inspect, wire::{CE_SEQUENCE, CE_SOURCE, CE_TIME, decode, RecordView}};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (header, value) = data.split_at(data.len().min(16));
    let bytes = Bytes::copy_from_slice(header);
    let named = [CE_TIME, CE_SOURCE, CE_SEQUENCE].map(|name| (Bytes::from(name), Some(bytes.clone())));
    let headers = [&[(bytes.clone(), None)][..], &named].concat();
    let timestamp = header.first_chunk().copied().map(i64::from_be_bytes);
    for format in [SinkFormat::Auto, SinkFormat::Jpeg, SinkFormat::Json] {
        let record = RecordView {
            value: Some(Bytes::copy_from_slice(value)),
            headers: &headers,
            key: Some(header),
            timestamp,
        };
        if let Ok(frame) = decode(&record, format) {
            assert_eq!(inspect(&frame.jpeg), Ok(frame.info));
        }
    }
});
