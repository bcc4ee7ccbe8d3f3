//! A chunked body: sizes, extensions and trailers byte by byte, data skipped.
//!
//! A fault is found at its byte, so that nothing behind it reaches the server, however the bytes were cut.
use super::{Fault, lines::is_token};

/// Most bytes of all chunk extensions of one body.
const EXTENSIONS_MAX: usize = 4 * 1024;
/// Most bytes of all trailers of one body.
const TRAILERS_MAX: usize = 8 * 1024;
/// Most trailers of one body.
const TRAILERS_COUNT_MAX: usize = 64;
/// Most digits of a chunk's size.
const DIGITS_MAX: u8 = 16;
/// The longest name in [`FORBIDDEN`].
const NAME_MAX: usize = 19;
/// Fields that frame, route, authenticate or describe the content may not come after it (RFC 9110, section 6.5.1).
const FORBIDDEN: [&[u8]; 20] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"idempotency-key",
    b"keep-alive",
    b"max-forwards",
    b"prefer",
    b"proxy-authorization",
    b"te",
    b"traceparent",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// A body that is being read.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    extensions: usize,
    trailer_bytes: usize,
    trailers: usize,
    name: [u8; NAME_MAX],
    name_len: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Space behind the size: an extension must follow.
    SpaceBeforeExtension,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    /// Looks at the next bytes. Returns how many of them belong to the body, and whether it ended there; Err: the fault and the
    /// bytes before it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let left = usize::try_from(self.size).unwrap_or(usize::MAX);
                let skipped = left.min(bytes.len() - at);
                self.size -= skipped as u64;
                at += skipped;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
            } else {
                self.at = self.step(bytes[at]).map_err(|fault| (at, fault))?;
                at += 1;
            }
        }
        Ok((at, self.at == At::End))
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Size, _) => self.size(byte),
            (At::SpaceBeforeExtension, b' ' | b'\t') => self.extension(At::SpaceBeforeExtension),
            (At::SpaceBeforeExtension, b';') => self.extension(At::Extension),
            (At::SpaceBeforeExtension, _) => Err(Fault::ChunkSize),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, b'\n' | 0x7f) => Err(Fault::ChunkEnd),
            (At::Extension, _) if byte < 0x20 && byte != b'\t' => Err(Fault::ChunkEnd),
            (At::Extension, _) => self.extension(At::Extension),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 { At::TrailerStart } else { At::Data })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::EndLf, b'\n') => Ok(At::End),
            (At::SizeLf | At::DataCr | At::DataLf | At::EndLf, _) => Err(Fault::ChunkEnd),
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf, _) => self.trailer(byte),
            (At::Data | At::End, _) => Ok(self.at),
        }
    }

    fn size(&mut self, byte: u8) -> Result<At, Fault> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.digits += 1;
            // A size with the highest bit would be a negative number somewhere.
            if self.digits > DIGITS_MAX || self.size >> 59 != 0 {
                return Err(Fault::ChunkSize);
            }
            self.size = self.size << 4 | u64::from(digit);
            return Ok(At::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(Fault::ChunkSize),
            b'\r' => Ok(At::SizeLf),
            b';' => self.extension(At::Extension),
            b' ' | b'\t' => self.extension(At::SpaceBeforeExtension),
            b'\n' => Err(Fault::ChunkEnd),
            _ => Err(Fault::ChunkSize),
        }
    }

    fn extension(&mut self, next: At) -> Result<At, Fault> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_MAX { Err(Fault::ChunkExtension) } else { Ok(next) }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Fault> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILERS_MAX || self.trailers > TRAILERS_COUNT_MAX {
            return Err(Fault::TrailersTooLarge);
        }
        match (self.at, byte) {
            (At::TrailerStart, _) if is_token(byte) => {
                self.trailers += 1;
                self.name_len = 0;
                self.name_byte(byte);
                Ok(At::TrailerName)
            }
            (At::TrailerName, b':') if self.is_forbidden() => Err(Fault::TrailerForbidden),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerName, _) if is_token(byte) => {
                self.name_byte(byte);
                Ok(At::TrailerName)
            }
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            _ => Err(Fault::Trailer),
        }
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_len) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len += 1;
    }

    fn is_forbidden(&self) -> bool {
        self.name.get(..self.name_len).is_some_and(|name| FORBIDDEN.contains(&name))
    }
}
