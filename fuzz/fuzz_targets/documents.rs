//! What a user writes: resources are read and checked without a panic, and a refusal names a problem.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = edgereel_crds::load(&[("fuzz.yaml".to_owned(), text.to_owned())]) {
        assert!(!problems.is_empty());
    }
});
