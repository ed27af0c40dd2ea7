//! Two texts split at the first NUL: no panic, and the verdict does not depend on their order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rasft_math::Verifier;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (a, b) = text.split_once('\0').unwrap_or((&text, &text));
    let verifier = Verifier::default();
    let there = verifier.equivalent(a, b);
    assert_eq!(there.is_correct(), verifier.equivalent(b, a).is_correct());
    let _ = verifier.verify(a, b);
});
