//! What is wrong with a request's bytes, with the status and the words of its answer.
use schemas::Word;
use std::fmt;

/// Why the guard refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// RFC 9112, section 3: not `method SP target SP version`.
    RequestLine,
    /// RFC 9110, section 9.1: the method is no token.
    Method,
    /// RFC 9112, section 3.2: the target holds what no target may.
    Target,
    /// RFC 9110, section 4.1: a longer target than is taken.
    TargetTooLong,
    /// RFC 9110, section 2.5: another version than 1.1 and 1.0.
    Version,
    /// RFC 9110, section 9.3.6: this is no proxy.
    Connect,
    /// RFC 6585, section 5: a larger head than is taken.
    HeadTooLarge,
    /// RFC 6585, section 5: more headers than are taken.
    TooManyHeaders,
    /// RFC 9112, section 2.2: a line ends with LF alone.
    BareLf,
    /// RFC 9112, section 2.2: more empty lines before a request than are read over.
    EmptyLines,
    /// RFC 9112, section 5.2: a header goes on in the next line.
    Folded,
    /// RFC 9112, section 5.1: the name of a header is no token, or a space stands before its colon.
    FieldName,
    /// RFC 9110, section 5.5: NUL, CR or another control character in a value.
    FieldValue,
    /// RFC 9112, section 3.2: HTTP/1.1 without Host.
    NoHost,
    /// RFC 9112, section 3.2: two Hosts.
    TwoHosts,
    /// RFC 9110, section 8.6: the length is no decimal number that can be.
    ContentLength,
    /// RFC 9110, section 8.6: two lengths, even if they are equal.
    TwoContentLengths,
    /// RFC 9112, section 6.3: a length beside a transfer coding.
    LengthAndCoding,
    /// RFC 9112, section 6.1: two headers with transfer codings.
    TwoTransferEncodings,
    /// RFC 9112, section 6.3: the last transfer coding is not `chunked`, so that nobody knows where the body ends.
    TransferEncoding,
    /// RFC 9112, section 6.1: a transfer coding that is not taken.
    UnknownCoding,
    /// RFC 9112, section 6.1: a transfer coding in HTTP/1.0.
    CodingInHttp10,
    /// RFC 9112, section 7.1: the size of a chunk is no hexadecimal number, or too large for one.
    ChunkSize,
    /// RFC 9112, section 7.1.1: longer chunk extensions than are taken.
    ChunkExtension,
    /// RFC 9112, section 7.1: no CR LF where it must be.
    ChunkEnd,
    /// RFC 9112, section 7.1.2: a trailer that is no field line.
    Trailer,
    /// RFC 9110, section 6.5.1: a trailer that frames, routes or authenticates.
    TrailerForbidden,
    /// RFC 9112, section 7.1.2: larger trailers than are taken.
    TrailersTooLarge,
}

impl Fault {
    /// The failure word.
    pub fn word(self) -> Word {
        match self {
            Fault::Connect => Word::MethodNotAllowed,
            Fault::TargetTooLong | Fault::HeadTooLarge | Fault::TooManyHeaders => Word::TooLarge,
            _ => Word::ProtocolError,
        }
    }

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Fault::Connect => 405,
            Fault::TargetTooLong => 414,
            Fault::HeadTooLarge | Fault::TooManyHeaders => 431,
            Fault::UnknownCoding => 501,
            Fault::Version => 505,
            _ => 400,
        }
    }

    /// One line for people.
    pub fn detail(self) -> &'static str {
        match self {
            Fault::RequestLine => {
                "the request line is not a method, a target and a version with one space between them"
            }
            Fault::Method => "the method holds what no token may",
            Fault::Target => "the request target holds characters that must be percent-encoded",
            Fault::TargetTooLong => "the request target is longer than this listener takes",
            Fault::Version => "the versions spoken here are HTTP/1.1, HTTP/1.0 and HTTP/2",
            Fault::Connect => "CONNECT is not taken here",
            Fault::HeadTooLarge => "the request line and the headers are larger than this listener takes",
            Fault::TooManyHeaders => "there are more headers than this listener takes",
            Fault::BareLf => "a line ends with LF alone, not with CR LF",
            Fault::EmptyLines => "too many empty lines before the request line",
            Fault::Folded => "a header goes on in the next line",
            Fault::FieldName => "a header line has no name and colon, or a space before the colon",
            Fault::FieldValue => "a header value holds a control character",
            Fault::NoHost => "the Host header is missing",
            Fault::TwoHosts => "there is more than one Host header",
            Fault::ContentLength => "the Content-Length is no decimal number of bytes",
            Fault::TwoContentLengths => "there is more than one Content-Length header",
            Fault::LengthAndCoding => "Content-Length and Transfer-Encoding came together",
            Fault::TwoTransferEncodings => "there is more than one Transfer-Encoding header",
            Fault::TransferEncoding => "the last transfer coding is not chunked, so nobody knows where the body ends",
            Fault::UnknownCoding => "the only transfer coding taken is chunked",
            Fault::CodingInHttp10 => "HTTP/1.0 has no transfer codings",
            Fault::ChunkSize => "the size of a chunk is no hexadecimal number of bytes",
            Fault::ChunkExtension => "the chunk extensions are longer than this listener takes",
            Fault::ChunkEnd => "a chunk, or the line of its size, does not end with CR LF",
            Fault::Trailer => "a trailer is no header line",
            Fault::TrailerForbidden => "a trailer may not frame, route or authenticate the request",
            Fault::TrailersTooLarge => "the trailers are larger than this listener takes",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Fault {}
