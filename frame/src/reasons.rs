//! Why a frame is dropped, mended or refused: closed sets, which metrics, status and dead letters name.

/// A closed set of reasons, each variant being its own label value in the case that Prometheus users expect.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
        }
    };
}

reasons! {
    /// Why a captured frame did not reach Kafka. The set is closed: alerts may match on it.
    DropReason {
        /// Above `frameRate.target` (or what `adaptive` lowered it to).
        pacing,
        /// `buffer.memory` was full.
        buffer_full,
        /// Larger than `maxFrameBytes`, or than the broker takes.
        too_large,
        /// The picture ends too early.
        truncated,
        /// Not a JPEG.
        not_jpeg,
        /// A file that is neither a JPEG nor a PNG nor a WebP.
        not_picture,
        /// A part, or a file, without content.
        empty,
        /// A file that could not be read.
        unreadable,
        /// A file that is no video, or of a kind that is not supported.
        unsupported,
        /// A symbolic link that leads out of its folder.
        outside,
        /// A picture of which nothing says what it shows, though something should.
        no_annotation,
        /// A snapshot was asked for, and no answer came.
        no_answer,
        /// A device sent it, and it was not taken before the next: the machine is too busy.
        overrun,
        /// `reencode` could not decode it.
        undecodable,
        /// Not acknowledged within `deliveryTimeout`.
        delivery_timeout,
        /// Refused by the broker, or in flight when the producer failed.
        delivery_failed,
        /// In the buffer when the worker was stopped and Kafka did not take it in time.
        shutdown,
    }
}

reasons! {
    /// What was mended in a frame before it went on.
    MendReason {
        /// The standard Huffman tables were put in.
        huffman_tables,
        /// The end marker was put at the end.
        end_of_image,
        /// Padding behind the end marker was cut off.
        padding,
        /// Encoded anew, as `reencode` asks.
        reencoded,
    }
}

reasons! {
    /// Why a record was not stored as a frame.
    InvalidReason {
        /// No value, or an empty one.
        empty,
        not_jpeg,
        /// Neither a JPEG nor a PNG nor a WebP.
        not_picture,
        truncated,
        bad_json,
        /// JSON without the string `frame`, or whatever name the picture may have.
        no_frame_field,
        bad_base64,
        /// A picture that the video codec cannot decode.
        undecodable,
        /// A picture that the video codec cannot encode: too large.
        unencodable,
        /// The file name that the record leads to is refused.
        bad_name,
    }
}
