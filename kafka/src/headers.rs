//! A record's headers, whose names are bytes: rdkafka takes them for UTF-8 and panics where they are not.
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{ffi::CStr, ptr, slice};

use bytes::Bytes;
use rdkafka::{
    bindings::{self, rd_kafka_headers_t, rd_kafka_message_t, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR},
    message::{BorrowedMessage, OwnedHeaders},
};

/// A record's header: its name and its value, which may be null. Kafka allows any bytes in both.
pub type Header = (Bytes, Option<Bytes>);

/// The headers of a record, in their order.
pub fn read(message: &BorrowedMessage<'_>) -> Vec<Header> {
    // SAFETY: the message lives as long as it is borrowed.
    unsafe { read_native(message.ptr()) }
}

/// As [`read`], of librdkafka's own message.
///
/// # Safety
/// `message` is a living message of a consumer, which no other thread uses meanwhile: the first look at the headers
/// unpacks them.
pub unsafe fn read_native(message: *mut rd_kafka_message_t) -> Vec<Header> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message lives. What is found belongs to it, and is copied before this returns.
    unsafe {
        match bindings::rd_kafka_message_headers(message, &mut headers) {
            RD_KAFKA_RESP_ERR_NO_ERROR => copied(headers),
            // There are none.
            _ => Vec::new(),
        }
    }
}

/// # Safety
/// `headers` lives.
unsafe fn copied(headers: *const rd_kafka_headers_t) -> Vec<Header> {
    // SAFETY: as this function's.
    let count = unsafe { bindings::rd_kafka_header_cnt(headers) };
    let mut found = Vec::with_capacity(count);
    for index in 0..count {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the index is below the count; the three are written before the call returns without an error.
        let code = unsafe { bindings::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut length) };
        if code != RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            break;
        }
        // SAFETY: librdkafka ends names with a NUL; both live as long as the headers.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // SAFETY: a value that is not null has as many bytes as librdkafka says.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), length) });
        found.push((Bytes::copy_from_slice(name), value.map(Bytes::copy_from_slice)));
    }
    found
}

/// Headers as a producer takes them, and how many bytes their names and values have.
pub fn written<'h, N: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, Option<&'h [u8]>)>) -> (OwnedHeaders, u64) {
    let headers = headers.into_iter();
    let list = OwnedHeaders::new_with_capacity(headers.size_hint().0);
    // rdkafka's borrowed form is librdkafka's own list under another name.
    let native = ptr::from_ref(list.as_borrowed()).cast_mut().cast::<rd_kafka_headers_t>();
    let mut bytes = 0;
    for (name, value) in headers {
        let name = name.as_ref();
        bytes += (name.len() + value.map_or(0, <[u8]>::len)) as u64;
        let (start, length) = value.map_or((ptr::null(), 0), |v| (v.as_ptr(), v.len()));
        // SAFETY: the list lives, is ours alone, and copies name and value before the call returns; a length is never
        // above `isize::MAX`.
        unsafe {
            bindings::rd_kafka_header_add(
                native,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                start.cast(),
                length.cast_signed(),
            );
        }
    }
    (list, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_back(headers: &OwnedHeaders) -> Vec<Header> {
        let native = ptr::from_ref(headers.as_borrowed()).cast::<rd_kafka_headers_t>();
        // SAFETY: the list is borrowed.
        unsafe { copied(native) }
    }

    proptest! {
        /// Names that are not UTF-8, empty values and missing ones, names that stand twice.
        #[test]
        fn headers_of_any_bytes_are_written_and_read_as_they_are(
            headers in prop::collection::vec(
                (prop::collection::vec(1u8.., 0..20), prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..8,
            ),
        ) {
            let (native, bytes) = written(headers.iter().map(|(name, value)| (name, value.as_deref())));
            let expected: Vec<Header> =
                headers.into_iter().map(|(name, value)| (name.into(), value.map(Bytes::from))).collect();
            let length = |(name, value): &Header| name.len() + value.as_ref().map_or(0, Bytes::len);
            prop_assert_eq!(bytes as usize, expected.iter().map(length).sum::<usize>());
            prop_assert_eq!(read_back(&native), expected);
        }
    }
}
