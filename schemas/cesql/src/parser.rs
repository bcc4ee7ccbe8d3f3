//! Tokens to a tree (specification 1.0, sections 2 and 3.6): one function per precedence level, from loose to tight.
//!
//! Loosest first: AND OR XOR (one level) · comparisons · `+ -` · `* / %` · LIKE, IN · NOT, `-`, EXISTS · values. All
//! operators of a level are read from left to right. Nesting, which is what recursion follows, stops at
//! [`crate::MAX_DEPTH`]; the first error ends the reading.

use crate::attributes::Name;
use crate::error::{ParseError, Span};
use crate::functions::Function;
use crate::lexer::{Keyword, Lexer, Token};
use crate::like::Pattern;
use crate::tree::{Arithmetic, Chain, Compare, Kind, Logic, Node};
use crate::{MAX_DEPTH, MAX_EXPRESSION};

type Parsed<T> = Result<T, ParseError>;

const VALUE: &str = "a value (an attribute, a literal, a function call or a part in parentheses)";

/// `a LIKE 'x' LIKE 'y'` is legal: each wraps what stands before it, which is nesting without parentheses.
const MAX_TESTS: usize = 2;

/// Parses a whole expression.
pub(crate) fn parse(source: &str) -> Parsed<Node> {
    if source.len() > MAX_EXPRESSION {
        return Err(ParseError {
            span: Span { start: source.floor_char_boundary(MAX_EXPRESSION), end: source.len() },
            found: format!("{} bytes", source.len()),
            expected: "at most 16384 bytes",
            help: Some("split the predicate"),
        });
    }
    let mut lexer = Lexer::new(source);
    let (token, span) = lexer.next()?;
    let mut parser = Parser { source, lexer, token, span, before: Span { start: 0, end: 0 }, depth: 0 };
    let root = parser.logic()?;
    match parser.token {
        Token::End => Ok(root),
        _ => parser.fail("an operator or the end of the expression"),
    }
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    /// The token not yet taken, and where it is.
    token: Token,
    span: Span,
    /// Where the token taken last is.
    before: Span,
    depth: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Parsed<()> {
        self.before = self.span;
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    fn fail<T>(&self, expected: &'static str) -> Parsed<T> {
        let text = self.span.of(self.source);
        let found = match self.token {
            Token::End => "the end of the expression".to_owned(),
            Token::Keyword(_) => format!("the keyword `{text}`"),
            Token::Text => format!("the string {text}"),
            _ => format!("`{text}`"),
        };
        let quotes_meet =
            self.token == Token::Text && self.before.end == self.span.start && self.before.start < self.before.end;
        let help = quotes_meet.then_some("a quote inside of a string is written \\' or \\\"");
        Err(ParseError { span: self.span, found, expected, help })
    }

    fn expect(&mut self, token: Token, expected: &'static str) -> Parsed<()> {
        if self.token == token { self.advance() } else { self.fail(expected) }
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err(ParseError {
                span: self.before,
                found: "one level of nesting more than 32".to_owned(),
                expected: "at most 32 levels",
                help: Some("take away parentheses that are not needed, or split the predicate"),
            });
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// One precedence level: operands read by `tighter`, joined by the operators that `operator` knows.
    fn chain<Op>(
        &mut self,
        tighter: fn(&mut Self) -> Parsed<Node>,
        operator: fn(Token) -> Option<Op>,
        kind: fn(Box<Chain<Op>>) -> Kind,
    ) -> Parsed<Node> {
        let first = tighter(self)?;
        let mut rest = Vec::new();
        while let Some(op) = operator(self.token) {
            self.advance()?;
            rest.push((op, tighter(self)?));
        }
        let Some((_, last)) = rest.last() else { return Ok(first) };
        let span = first.span.to(last.span);
        Ok(Node { span, kind: kind(Box::new(Chain { first, rest: rest.into_boxed_slice() })) })
    }

    fn logic(&mut self) -> Parsed<Node> {
        let operator = |token| match token {
            Token::Keyword(Keyword::And) => Some(Logic::And),
            Token::Keyword(Keyword::Or) => Some(Logic::Or),
            Token::Keyword(Keyword::Xor) => Some(Logic::Xor),
            _ => None,
        };
        self.chain(Self::compare, operator, Kind::Logic)
    }

    fn compare(&mut self) -> Parsed<Node> {
        let operator = |token| match token {
            Token::Equal => Some(Compare::Equal),
            Token::NotEqual => Some(Compare::NotEqual),
            Token::Less => Some(Compare::Less),
            Token::LessEqual => Some(Compare::LessEqual),
            Token::Greater => Some(Compare::Greater),
            Token::GreaterEqual => Some(Compare::GreaterEqual),
            _ => None,
        };
        self.chain(Self::sum, operator, Kind::Compare)
    }

    fn sum(&mut self) -> Parsed<Node> {
        let operator = |token| match token {
            Token::Plus => Some(Arithmetic::Add),
            Token::Minus => Some(Arithmetic::Subtract),
            _ => None,
        };
        self.chain(Self::product, operator, Kind::Arithmetic)
    }

    fn product(&mut self) -> Parsed<Node> {
        let operator = |token| match token {
            Token::Star => Some(Arithmetic::Multiply),
            Token::Slash => Some(Arithmetic::Divide),
            Token::Percent => Some(Arithmetic::Remainder),
            _ => None,
        };
        self.chain(Self::test, operator, Kind::Arithmetic)
    }

    /// LIKE and IN, after their operand.
    fn test(&mut self) -> Parsed<Node> {
        let mut node = self.unary()?;
        for tests in 0.. {
            let negated = self.token == Token::Keyword(Keyword::Not);
            match self.token {
                Token::Keyword(Keyword::Not) => {
                    self.advance()?;
                    if !matches!(self.token, Token::Keyword(Keyword::Like | Keyword::In)) {
                        return self.fail("LIKE or IN after NOT");
                    }
                }
                Token::Keyword(Keyword::Like | Keyword::In) => {}
                _ => break,
            }
            if tests == MAX_TESTS {
                return self.fail("an operator (more than two LIKE or IN in a row need parentheses)");
            }
            let operand = Box::new(node);
            let start = operand.span;
            let kind = if self.token == Token::Keyword(Keyword::Like) {
                self.advance()?;
                if self.token != Token::Text {
                    return self.fail("a pattern in quotes after LIKE");
                }
                let pattern = Pattern::new(&self.text());
                self.advance()?;
                Kind::Like { operand, pattern, negated }
            } else {
                self.advance()?;
                self.expect(Token::Open, "`(` and the values of the set after IN")?;
                let mut set = vec![self.nested(Self::logic)?];
                self.list(&mut set)?;
                Kind::In { operand, set: set.into_boxed_slice(), negated }
            };
            node = Node { span: start.to(self.before), kind };
        }
        Ok(node)
    }

    /// `, value … )` after the first value.
    fn list(&mut self, values: &mut Vec<Node>) -> Parsed<()> {
        while self.token == Token::Comma {
            self.advance()?;
            values.push(self.nested(Self::logic)?);
        }
        self.expect(Token::Close, "an operator, `,` or `)`")
    }

    fn unary(&mut self) -> Parsed<Node> {
        let start = self.span;
        match self.token {
            Token::Keyword(Keyword::Not) => {
                self.advance()?;
                let operand = self.nested(Self::unary)?;
                Ok(Node { span: start.to(operand.span), kind: Kind::Not(Box::new(operand)) })
            }
            Token::Minus | Token::Plus => {
                let sign = self.token;
                self.advance()?;
                if self.token == Token::Number && self.span.start == start.end {
                    return self.integer(start.to(self.span));
                }
                if sign == Token::Plus {
                    return self.fail("digits right after the sign `+`");
                }
                let operand = self.nested(Self::unary)?;
                Ok(Node { span: start.to(operand.span), kind: Kind::Negate(Box::new(operand)) })
            }
            Token::Keyword(Keyword::Exists) => {
                self.advance()?;
                if self.token != Token::Word {
                    return self.fail("the name of an attribute after EXISTS");
                }
                let name = self.attribute()?;
                Ok(Node { span: start.to(self.before), kind: Kind::Exists(name) })
            }
            _ => self.value(),
        }
    }

    fn value(&mut self) -> Parsed<Node> {
        let span = self.span;
        let kind = match self.token {
            Token::Number => return self.integer(span),
            Token::Text => Kind::Text(self.text().into_boxed_str()),
            Token::Keyword(Keyword::True) => Kind::Boolean(true),
            Token::Keyword(Keyword::False) => Kind::Boolean(false),
            Token::Word => return self.word(),
            Token::Open => {
                self.advance()?;
                let inner = self.nested(Self::logic)?;
                self.expect(Token::Close, "an operator or `)`")?;
                return Ok(Node { span: span.to(self.before), kind: inner.kind });
            }
            _ => return self.fail(VALUE),
        };
        self.advance()?;
        Ok(Node { span, kind })
    }

    /// The integer whose sign and digits `span` covers; the digits are the current token.
    fn integer(&mut self, span: Span) -> Parsed<Node> {
        let Ok(number) = span.of(self.source).parse() else {
            self.span = span;
            return self.fail("an Integer from -2147483648 to 2147483647");
        };
        self.advance()?;
        Ok(Node { span, kind: Kind::Integer(number) })
    }

    /// An attribute or a function call.
    fn word(&mut self) -> Parsed<Node> {
        let span = self.span;
        let (next, _) = self.lexer.clone().next().unwrap_or((Token::End, span));
        if next != Token::Open {
            let name = self.attribute()?;
            return Ok(Node { span, kind: Kind::Attribute(name) });
        }
        let name = span.of(self.source);
        if name.starts_with('_') || name.bytes().any(|byte| byte.is_ascii_digit()) {
            return self.fail("the name of a function (letters and `_`)");
        }
        self.advance()?;
        self.advance()?;
        let mut arguments = Vec::new();
        if self.token == Token::Close {
            self.advance()?;
        } else {
            arguments.push(self.nested(Self::logic)?);
            self.list(&mut arguments)?;
        }
        let kind = Kind::Call(Function::find(name, arguments.len()), arguments.into_boxed_slice());
        Ok(Node { span: span.to(self.before), kind })
    }

    fn attribute(&mut self) -> Parsed<Name> {
        let text = self.span.of(self.source);
        if text.contains('_') {
            return self.fail("the name of an attribute (letters and digits only)");
        }
        let name = Name::new(text);
        self.advance()?;
        Ok(name)
    }

    /// The value of the string literal that is the current token: `\` and its own quote is the quote.
    fn text(&self) -> String {
        let literal = self.span.of(self.source);
        let quote = &literal[..1];
        let mut value = String::with_capacity(literal.len());
        let mut rest = &literal[1..literal.len() - 1];
        while let Some(at) = rest.find('\\') {
            let pair = at + 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
            value.push_str(&rest[..at]);
            value.push_str(if &rest[at + 1..pair] == quote { quote } else { &rest[at..pair] });
            rest = &rest[pair..];
        }
        value.push_str(rest);
        value
    }
}
