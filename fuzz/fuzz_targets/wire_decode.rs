//! A record of any producer: reading it never panics, and what is read is a whole JPEG.
#![no_main]

use bytes::Bytes;
use edgereel_crds::frame_sink::SinkFormat;
use edgereel_worker::frame::{
    jpeg::inspect,
    wire::{RecordView, decode},
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (header, value) = data.split_at(data.len().min(16));
    for format in [SinkFormat::Auto, SinkFormat::Jpeg, SinkFormat::Json] {
        let record = RecordView {
            value: Some(Bytes::copy_from_slice(value)),
            header: &|name: &str| name.starts_with("ce_").then_some(header),
            key: Some(header),
            timestamp: Timestamp::UNIX_EPOCH,
        };
        if let Ok(frame) = decode(&record, format) {
            assert_eq!(inspect(&frame.jpeg), Ok(frame.info));
        }
    }
});
