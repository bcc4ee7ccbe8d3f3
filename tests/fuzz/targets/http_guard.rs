//! Arbitrary bytes on an HTTP/1 connection, in arbitrary pieces: the wire guard lets the same bytes pass and gives the same
//! answer, however they were cut.
//!
//! The first 8 bytes say how to cut; the rest is what the peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transports::http::guard::{Guard, Limits, Next};

const LIMITS: Limits = Limits { head_max: 512, headers_max: 8, target_max: 64 };

/// How many bytes passed in all, and what came after them.
fn feed(bytes: &[u8], mut piece: impl FnMut() -> usize) -> (usize, Next) {
    let mut guard = Guard::new(LIMITS);
    // Bytes from `passed` on have not passed; those before `seen` have been given.
    let (mut passed, mut seen) = (0, 0);
    loop {
        seen = bytes.len().min(seen + piece());
        let fed = guard.feed(&bytes[passed..seen]);
        assert!(fed.pass <= seen - passed, "no more passes than there is");
        passed += fed.pass;
        match fed.next {
            // As many heads as pass at once; the rest is given again.
            Next::Full => assert!(fed.pass > 0, "it goes on"),
            Next::More if seen == bytes.len() => return (passed, Next::More),
            Next::More => {}
            Next::Head(..) | Next::Body(_) => {
                let again = guard.feed(&bytes[passed..]);
                assert_eq!((again.pass, again.next), (0, fed.next), "nothing is read after a refusal");
                return (passed, fed.next);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = data.split_first_chunk::<8>() else { return };
    let whole = feed(bytes, || usize::MAX / 2);
    let single = feed(bytes, || 1);
    assert_eq!(whole, single, "byte by byte");
    let mut turn = 0;
    let pieces = feed(bytes, || {
        turn += 1;
        usize::from(cuts[turn % cuts.len()] % 64) + 1
    });
    assert_eq!(whole, pieces, "in pieces of {cuts:?}");
});
