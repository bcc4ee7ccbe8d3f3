//! Random expressions and events, and how an expression is written down: with only the parentheses that the precedence
//! of the specification asks for, plus a few more, and keywords in mixed case.

use proptest::prelude::*;

use crate::slow::{Ast, Event, Val};

const ATTRIBUTES: [&str; 8] = ["id", "type", "source", "subject", "a", "b", "n7", "gone"];
const TEXTS: [&str; 16] = [
    "",
    "a",
    "ab",
    "b",
    "true",
    "FALSE",
    "5",
    "-7",
    "+3",
    "2147483647",
    "2147483648",
    "x'y\"z",
    "é%_",
    " sp ",
    "com.a.b",
    "ẞß",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![proptest::sample::select(&TEXTS[..]).prop_map(str::to_owned), "[abé.]{0,4}"]
}

fn integer() -> impl Strategy<Value = i32> {
    prop_oneof![-3..8i32, proptest::sample::select(vec![i32::MIN, i32::MAX, i32::MIN + 1]), any::<i32>()]
}

/// Backslashes only in pairs that a literal can hold.
pub fn pattern() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec!["a", "b", "%", "_", "é", ".", "\\%", "\\_", "\\a", "\\\\", "com"]);
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn leaf() -> impl Strategy<Value = Ast> {
    let name = || proptest::sample::select(&ATTRIBUTES[..]);
    prop_oneof![
        3 => text().prop_map(Ast::Text),
        3 => integer().prop_map(Ast::Int),
        2 => any::<bool>().prop_map(Ast::Bool),
        5 => name().prop_map(Ast::Attr),
        1 => name().prop_map(Ast::Exists),
    ]
}

/// Any expression.
pub fn expression() -> impl Strategy<Value = Ast> {
    leaf().prop_recursive(5, 40, 4, |inner| {
        let operator = proptest::sample::select(vec![
            "AND", "OR", "XOR", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%",
        ]);
        let function = proptest::sample::select(vec![
            "ABS", "LENGTH", "CONCAT", "CONCAT_WS", "LOWER", "UPPER", "TRIM", "LEFT", "RIGHT", "SUBSTRING", "INT", "BOOL",
            "STRING", "IS_INT", "IS_BOOL", "NO_SUCH",
        ]);
        let some = |range| proptest::collection::vec(inner.clone(), range);
        prop_oneof![
            2 => inner.clone().prop_map(|ast| Ast::Not(ast.into())),
            1 => inner.clone().prop_map(|ast| Ast::Neg(ast.into())),
            8 => (operator, inner.clone(), inner.clone()).prop_map(|(op, x, y)| Ast::Binary(op, x.into(), y.into())),
            2 => (inner.clone(), pattern(), any::<bool>()).prop_map(|(x, pattern, not)| Ast::Like(x.into(), pattern, not)),
            2 => (inner.clone(), some(1..4), any::<bool>()).prop_map(|(x, set, not)| Ast::In(x.into(), set, not)),
            3 => (function, some(0..4)).prop_map(|(name, arguments)| Ast::Call(name, arguments)),
        ]
    })
}

/// Expressions of the kind that routers index, over so few values that many match.
pub fn routing() -> impl Strategy<Value = Ast> {
    let name = || proptest::sample::select(vec!["type", "source", "a", "b"]).prop_map(|name| Box::new(Ast::Attr(name)));
    let value = || proptest::sample::select(vec!["a", "b", "ab", "%"]).prop_map(str::to_owned);
    let set = proptest::collection::vec(prop_oneof![9 => value().prop_map(Ast::Text), 1 => leaf()], 1..4);
    let test = prop_oneof![
        3 => (name(), value()).prop_map(|(x, y)| Ast::Binary("=", x, Ast::Text(y).into())),
        1 => (name(), value()).prop_map(|(x, y)| Ast::Binary("=", Ast::Text(y).into(), x)),
        1 => (name(), value()).prop_map(|(x, y)| Ast::Binary("!=", x, Ast::Text(y).into())),
        2 => (name(), set, proptest::bool::weighted(0.2)).prop_map(|(x, set, not)| Ast::In(x, set, not)),
        3 => (name(), pattern(), proptest::bool::weighted(0.2)).prop_map(|(x, y, not)| Ast::Like(x, y, not)),
        1 => proptest::sample::select(vec!["a", "b", "type"]).prop_map(Ast::Exists),
        1 => any::<bool>().prop_map(Ast::Bool),
    ];
    test.prop_recursive(3, 6, 2, |inner| {
        let operator = proptest::sample::select(vec!["AND", "AND", "AND", "OR", "OR", "OR", "XOR"]);
        prop_oneof![
            12 => (operator, inner.clone(), inner.clone()).prop_map(|(op, x, y)| Ast::Binary(op, x.into(), y.into())),
            1 => inner.prop_map(|ast| Ast::Not(ast.into())),
        ]
    })
}

/// An event: the required attributes, and some of the others, of any type.
pub fn event() -> impl Strategy<Value = Event> {
    let value = || {
        prop_oneof![
            6 => proptest::sample::select(vec!["a", "b", "ab", "%", "com.a.b"]).prop_map(|text| Val::S(text.to_owned())),
            2 => text().prop_map(Val::S),
            2 => integer().prop_map(Val::I),
            1 => any::<bool>().prop_map(Val::B)
        ]
    };
    let required = proptest::collection::vec(value().prop_map(|value| Val::S(string(&value))), 3);
    let optional = proptest::collection::vec(proptest::option::weighted(0.8, value()), 4);
    (required, optional).prop_map(|(required, optional)| {
        let mut event: Event = ["id", "type", "source"].into_iter().zip(required).collect();
        let names = ["subject", "a", "b", "n7"].into_iter();
        event.extend(names.zip(optional).filter_map(|(name, value)| value.map(|value| (name, value))));
        event
    })
}

/// An event for [`routing`]: few values, nearly all of them strings, nearly always present.
pub fn routing_event() -> impl Strategy<Value = Event> {
    let text = || proptest::sample::select(vec!["a", "b", "ab", "%"]).prop_map(|text| Val::S(text.to_owned()));
    let value = prop_oneof![12 => text(), 1 => integer().prop_map(Val::I), 1 => any::<bool>().prop_map(Val::B)];
    let required = proptest::collection::vec(text(), 3);
    let optional = proptest::collection::vec(proptest::option::weighted(0.95, value), 2);
    (required, optional).prop_map(|(required, optional)| {
        let mut event: Event = ["id", "type", "source"].into_iter().zip(required).collect();
        event.extend(["a", "b"].into_iter().zip(optional).filter_map(|(name, value)| value.map(|value| (name, value))));
        event
    })
}

fn string(value: &Val) -> String {
    match value {
        Val::S(text) => text.clone(),
        Val::I(number) => number.to_string(),
        Val::B(truth) => truth.to_string(),
    }
}

/// Choices while writing, from a seed.
struct Style(u64);

impl Style {
    fn one_in(&mut self, n: u64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }

    fn word(&mut self, word: &str) -> String {
        if self.one_in(3) { word.to_lowercase() } else { word.to_owned() }
    }
}

/// Writes the expression down.
pub fn render(ast: &Ast, seed: u64) -> String {
    let mut out = String::new();
    write(ast, 0, &mut Style(seed), &mut out);
    out
}

/// The specification's order (section 3.6), loosest first.
fn level(ast: &Ast) -> u8 {
    match ast {
        Ast::Binary("AND" | "OR" | "XOR", ..) => 1,
        Ast::Binary("+" | "-", ..) => 3,
        Ast::Binary("*" | "/" | "%", ..) => 4,
        Ast::Binary(..) => 2,
        Ast::Like(..) | Ast::In(..) => 5,
        Ast::Not(_) | Ast::Neg(_) | Ast::Exists(_) => 6,
        Ast::Text(_) | Ast::Int(_) | Ast::Bool(_) | Ast::Attr(_) | Ast::Call(..) => 7,
    }
}

fn write(ast: &Ast, least: u8, style: &mut Style, out: &mut String) {
    if level(ast) < least || style.one_in(8) {
        out.push('(');
        write_plain(ast, style, out);
        out.push(')');
    } else {
        write_plain(ast, style, out);
    }
}

fn write_plain(ast: &Ast, style: &mut Style, out: &mut String) {
    match ast {
        Ast::Text(text) => literal(text, style, out),
        Ast::Int(number) => out.push_str(&number.to_string()),
        Ast::Bool(truth) => out.push_str(&style.word(if *truth { "TRUE" } else { "FALSE" })),
        Ast::Attr(name) => out.push_str(name),
        Ast::Exists(name) => *out += &format!("{} {name}", style.word("EXISTS")),
        Ast::Not(operand) => {
            *out += &format!("{} ", style.word("NOT"));
            write(operand, 6, style, out);
        }
        Ast::Neg(operand) => {
            out.push('-');
            write(operand, 6, style, out);
        }
        Ast::Binary(op, x, y) => {
            write(x, level(ast), style, out);
            let space = if style.one_in(3) && !op.starts_with(|c: char| c.is_alphabetic()) { "" } else { " " };
            *out += &format!("{space}{}{space}", style.word(op));
            write(y, level(ast) + 1, style, out);
        }
        Ast::Like(x, pattern, negated) => {
            write(x, in_a_row(x), style, out);
            *out += &style.word(if *negated { " NOT LIKE " } else { " LIKE " });
            literal(pattern, style, out);
        }
        Ast::In(x, set, negated) => {
            write(x, in_a_row(x), style, out);
            *out += &style.word(if *negated { " NOT IN (" } else { " IN (" });
            list(set, style, out);
        }
        Ast::Call(name, arguments) => {
            *out += &format!("{}(", style.word(name));
            list(arguments, style, out);
        }
    }
}

/// The level of the operand of LIKE or IN: two may stand in a row, the third needs parentheses.
fn in_a_row(operand: &Ast) -> u8 {
    match operand {
        Ast::Like(inner, ..) | Ast::In(inner, ..) if level(inner) == 5 => 6,
        _ => 5,
    }
}

fn list(values: &[Ast], style: &mut Style, out: &mut String) {
    for (index, value) in values.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        write(value, 0, style, out);
    }
    out.push(')');
}

fn literal(text: &str, style: &mut Style, out: &mut String) {
    let quote = if style.one_in(2) { '\'' } else { '"' };
    *out += &format!("{quote}{}{quote}", text.replace(quote, &format!("\\{quote}")));
}
