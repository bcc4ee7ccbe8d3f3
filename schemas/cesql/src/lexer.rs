//! Text to tokens (specification 1.0, section 2).
//!
//! Every token has a span; what is no token is an error with a span. Keywords are recognised in any case. Signs belong
//! to numbers only where an operand may stand, which the parser knows, so here they are tokens of their own.

use crate::error::{ParseError, Span};

/// A keyword of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    Or,
    Xor,
    Not,
    Like,
    Exists,
    In,
    True,
    False,
}

const KEYWORDS: [(&str, Keyword); 9] = [
    ("and", Keyword::And),
    ("or", Keyword::Or),
    ("xor", Keyword::Xor),
    ("not", Keyword::Not),
    ("like", Keyword::Like),
    ("exists", Keyword::Exists),
    ("in", Keyword::In),
    ("true", Keyword::True),
    ("false", Keyword::False),
];

/// What a token is. Its text is what its span covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Letters, digits and `_`, not all digits, and no keyword.
    Word,
    /// Digits.
    Number,
    /// A quoted string, quotes included.
    Text,
    Keyword(Keyword),
    Open,
    Close,
    Comma,
    Star,
    Slash,
    Percent,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    End,
}

/// Reads one token after another; clones are cheap, which is how the parser looks ahead.
#[derive(Clone)]
pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

/// Operators of other languages, longest first, and what to write here.
const FOREIGN: [(&str, &str); 11] = [
    ("=>", "write `>=`"),
    ("=<", "write `<=`"),
    ("==", "write `=`"),
    ("=~", "write LIKE with a quoted pattern, where % stands for any characters"),
    ("&&", "write AND"),
    ("||", "write OR, or CONCAT(…) to join strings"),
    ("!", "write NOT, or `!=`"),
    ("&", "write AND"),
    ("|", "write OR"),
    ("^", "write XOR"),
    (".", "attribute names have letters and digits only, and the data of an event cannot be read"),
];

impl<'s> Lexer<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Lexer { source, at: 0 }
    }

    /// The next token; `End`, with an empty span at the end, for ever after the last.
    pub(crate) fn next(&mut self) -> Result<(Token, Span), ParseError> {
        let bytes = self.source.as_bytes();
        while bytes.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(first) = bytes.get(start).copied() else {
            return Ok((Token::End, Span { start, end: start }));
        };
        let (token, length) = match first {
            b'\'' | b'"' => (Token::Text, self.text_length(start, first)?),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => self.word(start),
            _ => self.operator(start, first)?,
        };
        self.at = start + length;
        Ok((token, Span { start, end: self.at }))
    }

    fn word(&self, start: usize) -> (Token, usize) {
        let rest = &self.source[start..];
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..length];
        let keyword = KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let token = match keyword {
            Some((_, keyword)) => Token::Keyword(*keyword),
            None if word.bytes().all(|byte| byte.is_ascii_digit()) => Token::Number,
            None => Token::Word,
        };
        (token, length)
    }

    /// The length of the string literal at `start`, quotes included. A backslash takes the next character with it.
    fn text_length(&self, start: usize, quote: u8) -> Result<usize, ParseError> {
        let mut escaped = false;
        for (index, byte) in self.source.as_bytes()[start..].iter().enumerate().skip(1) {
            match *byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                byte if byte == quote => return Ok(index + 1),
                _ => {}
            }
        }
        Err(ParseError {
            span: Span { start, end: self.source.len() },
            found: "a string that does not end".to_owned(),
            expected: if quote == b'"' { "a closing \"" } else { "a closing '" },
            help: None,
        })
    }

    fn operator(&self, start: usize, first: u8) -> Result<(Token, usize), ParseError> {
        let rest = &self.source[start..];
        if !rest.starts_with("!=")
            && let Some((wrong, help)) = FOREIGN.iter().find(|(wrong, _)| rest.starts_with(wrong))
        {
            return Err(Self::foreign(start, wrong, Some(help)));
        }
        let second = rest.as_bytes().get(1).copied();
        Ok(match (first, second) {
            (b'!', Some(b'=')) | (b'<', Some(b'>')) => (Token::NotEqual, 2),
            (b'<', Some(b'=')) => (Token::LessEqual, 2),
            (b'>', Some(b'=')) => (Token::GreaterEqual, 2),
            (b'<', _) => (Token::Less, 1),
            (b'>', _) => (Token::Greater, 1),
            (b'=', _) => (Token::Equal, 1),
            (b'(', _) => (Token::Open, 1),
            (b')', _) => (Token::Close, 1),
            (b',', _) => (Token::Comma, 1),
            (b'*', _) => (Token::Star, 1),
            (b'/', _) => (Token::Slash, 1),
            (b'%', _) => (Token::Percent, 1),
            (b'+', _) => (Token::Plus, 1),
            (b'-', _) => (Token::Minus, 1),
            _ => {
                let wrong = rest.chars().next().map_or("", |c| &rest[..c.len_utf8()]);
                return Err(Self::foreign(start, wrong, None));
            }
        })
    }

    fn foreign(start: usize, wrong: &str, help: Option<&'static str>) -> ParseError {
        ParseError {
            span: Span { start, end: start + wrong.len() },
            found: format!("`{}`", wrong.escape_debug()),
            expected: "an operator, a value or the end of the expression",
            help,
        }
    }
}
