//! The kinds of `edgereel.dev/v1alpha1`: the one list of them.

use crate::api::{
    camera_stream::CameraStream,
    camera_worker::CameraWorker,
    declared::{About, Declared},
    frame_sink::FrameSink,
    kafka_connection::KafkaConnection,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// The kinds of `edgereel.dev/v1alpha1`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind),*
        }

        impl Kind {
            /// All of them, those that others refer to first.
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// The kind's name in a document.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$kind => <$kind as Declared>::NAME),*
                }
            }

            /// What there is to say of it.
            pub fn about(self) -> About {
                match self {
                    $(Kind::$kind => About::of::<$kind>()),*
                }
            }
        }
    };
}

kinds! {
    /// Where a Kafka cluster is.
    KafkaConnection,
    /// One pod for many cameras.
    CameraWorker,
    /// A camera on its way to a topic.
    CameraStream,
    /// A topic on its way to a disk.
    FrameSink,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_in_documents_what_its_definition_calls_it() {
        for kind in Kind::ALL {
            let About { name, short, definition, .. } = kind.about();
            assert_eq!((kind.as_str(), name), (definition.spec.names.kind.as_str(), kind.as_str()));
            assert_eq!(definition.spec.names.short_names, Some(vec![short.to_owned()]));
        }
    }
}
