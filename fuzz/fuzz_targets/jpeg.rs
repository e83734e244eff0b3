//! What calls itself a JPEG: nothing panics, and what was mended is whole.
#![no_main]

use bytes::Bytes;
use edgereel_frame::jpeg::{comment, inspect, mend, MissingEnd, picture_hash};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    comment(data);
    if let Ok(info) = inspect(data) {
        assert!(info.scan_start < info.length && info.length as usize <= data.len());
        picture_hash(data, &info);
    }
    for missing_end in [MissingEnd::Truncated, MissingEnd::Append] {
        if let Ok((jpeg, info, _)) = mend(Bytes::copy_from_slice(data), missing_end) {
            assert_eq!(inspect(&jpeg), Ok(info));
            let again = mend(jpeg.clone(), MissingEnd::Truncated).expect("it is whole");
            assert_eq!((again.0, again.2.reasons().count()), (jpeg, 0));
        }
    }
});
