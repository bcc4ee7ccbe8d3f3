//! Content codings: gzip and zstd, undone within the limit on the body.
//!
//! The limit holds for the decoded bytes and is checked while they appear, so that a bomb costs no more than the limit. The
//! work is synchronous: a decoder's window exists only while one request's bytes are decoded, never across an await.
use super::problem::Problem;
use crate::Room;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use schemas::{Refusal, Word};
use std::io::{self, Read};

/// Largest zstd window: 8 MiB, as RFC 9659 (section 3) has it for this coding.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Decoded bytes appear in steps of this many at least, and room is taken before each.
const STEP: usize = 16 * 1024;

/// How a body was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// Reads `Content-Encoding` (RFC 9110, section 8.4). One coding at most is taken.
    ///
    /// # Errors
    /// `unsupported_format`, with `Accept-Encoding` (section 12.5.3).
    pub(super) fn read(value: Option<&HeaderValue>) -> Result<Self, Problem> {
        let Some(value) = value else { return Ok(Coding::Identity) };
        let name = value.as_bytes().trim_ascii();
        for (known, coding) in
            [("gzip", Coding::Gzip), ("x-gzip", Coding::Gzip), ("zstd", Coding::Zstd), ("identity", Coding::Identity)]
        {
            if name.eq_ignore_ascii_case(known.as_bytes()) {
                return Ok(coding);
            }
        }
        let problem = Problem::with_status(
            Word::UnsupportedFormat,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "one content coding is taken: gzip, zstd or identity",
        );
        Err(problem.header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")))
    }

    /// The decoded body. `room` grows as bytes appear and afterwards covers the decoded bytes only.
    ///
    /// # Errors
    /// `too_large` above `max` decoded bytes, `malformed` when it is cut off or not this coding, `overloaded`.
    pub(super) fn decode(self, body: Bytes, max: usize, room: &mut Room) -> Result<Bytes, Problem> {
        match self {
            Coding::Identity => Ok(body),
            Coding::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(body.as_ref()), body.len(), max, room),
            Coding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref()).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                read_all(decoder.map_err(|error| unreadable(&error))?, body.len(), max, room)
            }
        }
    }
}

fn read_all(mut decoder: impl Read, encoded: usize, max: usize, room: &mut Room) -> Result<Bytes, Problem> {
    let mut decoded = BytesMut::new();
    let mut length = 0;
    loop {
        if length == decoded.len() {
            // One byte above the limit is enough to know that it is broken.
            let step = STEP.max(length).min((max + 1).saturating_sub(length));
            if step == 0 {
                return Err(Refusal::new(Word::TooLarge, format!("the decoded body has more than {max} bytes")).into());
            }
            let missing = (encoded + length + step).saturating_sub(room.bytes());
            if !room.try_grow(missing) {
                return Err(overloaded());
            }
            decoded.resize(length + step, 0);
        }
        match decoder.read(&mut decoded[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
    decoded.truncate(length);
    room.shrink_to(length.max(crate::intake::ROOM_MIN));
    Ok(decoded.freeze())
}

pub(super) fn overloaded() -> Problem {
    Refusal::new(Word::Overloaded, "the byte budget has no room for the rest of the body").into()
}

fn unreadable(error: &io::Error) -> Problem {
    // zstd's text for a window above the limit; it has no other sign.
    if error.to_string().contains("too much memory") {
        return Refusal::new(Word::TooLarge, "the zstd window has more than 8 MiB").into();
    }
    Problem::new(Word::Malformed, format!("the body cannot be decoded: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Budget;
    use std::io::Write;

    const MAX: usize = 100_000;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(coding: Coding, body: Vec<u8>) -> Result<(Bytes, usize), Word> {
        let budget = Budget::new(100 * MAX);
        let mut room = budget.share("").try_take(body.len()).unwrap();
        let decoded = coding.decode(Bytes::from(body), MAX, &mut room).map_err(|problem| problem.word)?;
        assert!(room.bytes() >= decoded.len());
        assert_eq!(room.bytes(), budget.used());
        Ok((decoded, room.bytes()))
    }

    #[test]
    fn bodies_come_back_and_limits_hold_to_the_byte() {
        for (coding, encode) in [
            (Coding::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Coding::Zstd, |data: &[u8]| zstd::encode_all(data, 3).unwrap()),
        ] {
            for length in [0, 1, STEP, STEP + 1, 70_000, MAX] {
                let data: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
                assert_eq!(decode(coding, encode(&data)).unwrap().0, data, "{coding:?} {length}");
            }
            assert_eq!(decode(coding, encode(&vec![0; MAX + 1])).unwrap_err(), Word::TooLarge, "{coding:?}");
            assert_eq!(decode(coding, encode(&vec![0; 64 * MAX])).unwrap_err(), Word::TooLarge, "{coding:?} bomb");
            let mut cut = encode(&[7; 5000]);
            cut.pop();
            assert_eq!(decode(coding, cut).unwrap_err(), Word::Malformed, "{coding:?} cut off");
            let mut trailing = encode(b"{}");
            trailing.extend_from_slice(b"garbage");
            assert_eq!(decode(coding, trailing).unwrap_err(), Word::Malformed, "{coding:?} trailing bytes");
            let mut twice = encode(b"ab");
            twice.extend(encode(b"cd"));
            assert_eq!(decode(coding, twice).unwrap().0.as_ref(), b"abcd", "{coding:?} members are one body");
            assert_eq!(decode(coding, b"not encoded".to_vec()).unwrap_err(), Word::Malformed);
        }
    }

    #[test]
    fn a_zstd_window_above_8_mib_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&[1; 1000]).unwrap();
        let body = encoder.finish().unwrap();
        assert_eq!(decode(Coding::Zstd, body).unwrap_err(), Word::TooLarge);
    }

    #[test]
    fn a_bomb_cannot_take_more_room_than_there_is() {
        let budget = Budget::new(4 * 20_000);
        let mut room = budget.share("").try_take(1000).unwrap();
        let bomb = Bytes::from(gzip(&vec![0; MAX]));
        assert_eq!(Coding::Gzip.decode(bomb, MAX, &mut room).unwrap_err().word, Word::Overloaded);
    }

    #[test]
    fn other_codings_are_refused() {
        for name in ["br", "gzip, gzip", "deflate", "gzip,zstd", ""] {
            assert!(Coding::read(Some(&HeaderValue::from_static(name))).is_err(), "{name}");
        }
        assert_eq!(Coding::read(Some(&HeaderValue::from_static("GZIP"))).unwrap(), Coding::Gzip);
    }
}
