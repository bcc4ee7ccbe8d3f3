//! A second evaluator: a plain walk over owned values, written from the specification's text and sharing no code with
//! the crate. Slow on purpose (LIKE by a table, functions over vectors of characters, arithmetic in 64 bits).

use std::collections::BTreeMap;

/// An expression as it is generated; `generate::render` writes it down.
#[derive(Clone, Debug)]
pub enum Ast {
    Text(String),
    Int(i32),
    Bool(bool),
    Attr(&'static str),
    Exists(&'static str),
    Not(Box<Ast>),
    Neg(Box<Ast>),
    Binary(&'static str, Box<Ast>, Box<Ast>),
    Like(Box<Ast>, String, bool),
    In(Box<Ast>, Vec<Ast>, bool),
    Call(&'static str, Vec<Ast>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    S(String),
    I(i32),
    B(bool),
}

pub type Event = BTreeMap<&'static str, Val>;
pub type Kind = &'static str;
pub type Result2 = (Val, Option<Kind>);

const NO: Val = Val::B(false);

fn to_string(value: &Val) -> String {
    match value {
        Val::S(text) => text.clone(),
        Val::I(number) => format!("{number}"),
        Val::B(truth) => format!("{truth}"),
    }
}

fn to_int(value: &Val) -> Option<i32> {
    match value {
        Val::S(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let mut number: i64 = 0;
            for digit in digits.chars() {
                number = (number * 10 + i64::from(digit.to_digit(10).unwrap())).min(1 << 40);
            }
            i32::try_from(if text.starts_with('-') { -number } else { number }).ok()
        }
        Val::I(number) => Some(*number),
        Val::B(truth) => Some(if *truth { 1 } else { 0 }),
    }
}

pub fn to_bool(value: &Val) -> Option<bool> {
    match value {
        Val::S(text) => match text.to_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        Val::I(number) => Some(*number != 0),
        Val::B(truth) => Some(*truth),
    }
}

pub fn eval(ast: &Ast, event: &Event) -> Result2 {
    match ast {
        Ast::Text(text) => (Val::S(text.clone()), None),
        Ast::Int(number) => (Val::I(*number), None),
        Ast::Bool(truth) => (Val::B(*truth), None),
        Ast::Attr(name) => event.get(name).map_or((NO, Some("missingAttribute")), |value| (value.clone(), None)),
        Ast::Exists(name) => {
            let required = ["id", "source", "type", "specversion"].contains(name);
            (Val::B(required || event.contains_key(name)), None)
        }
        Ast::Not(operand) => match eval(operand, event) {
            (_, Some(error)) => (NO, Some(error)),
            (Val::I(_), None) => (Val::B(true), Some("cast")),
            (value, None) => match to_bool(&value) {
                Some(truth) => (Val::B(!truth), None),
                None => (Val::B(true), Some("cast")),
            },
        },
        Ast::Neg(operand) => match eval(operand, event) {
            (_, Some(error)) => (Val::I(0), Some(error)),
            (value, None) => match to_int(&value) {
                None => (Val::I(0), Some("cast")),
                Some(number) => narrow(-i64::from(number)),
            },
        },
        Ast::Binary(op @ ("AND" | "OR" | "XOR"), left, right) => logic(op, left, right, event),
        Ast::Binary(op, left, right) => binary(op, eval(left, event), || eval(right, event)),
        Ast::Like(operand, pattern, negated) => match eval(operand, event) {
            (_, Some(error)) => (NO, Some(error)),
            (value, None) => (Val::B(like(&to_string(&value), pattern) != *negated), None),
        },
        Ast::In(operand, set, negated) => is_in(operand, set, *negated, event),
        Ast::Call(name, arguments) => call(name, arguments, event),
    }
}

fn narrow(number: i64) -> Result2 {
    i32::try_from(number).map_or((Val::I(0), Some("math")), |number| (Val::I(number), None))
}

fn truth(result: Result2) -> Result<bool, Kind> {
    match result {
        (_, Some(error)) => Err(error),
        (value, None) => to_bool(&value).ok_or("cast"),
    }
}

fn logic(op: &str, left: &Ast, right: &Ast, event: &Event) -> Result2 {
    let outcome = truth(eval(left, event)).and_then(|left| match (op, left) {
        ("AND", false) => Ok(false),
        ("OR", true) => Ok(true),
        ("XOR", left) => truth(eval(right, event)).map(|right| left ^ right),
        _ => truth(eval(right, event)),
    });
    outcome.map_or_else(|error| (NO, Some(error)), |truth| (Val::B(truth), None))
}

fn binary(op: &str, left: Result2, right: impl FnOnce() -> Result2) -> Result2 {
    let zero = if ["+", "-", "*", "/", "%"].contains(&op) { Val::I(0) } else { NO };
    let (x, y) = match (left, right()) {
        ((_, Some(error)), _) | (_, (_, Some(error))) => return (zero, Some(error)),
        ((x, None), (y, None)) => (x, y),
    };
    if op == "=" || op == "!=" || op == "<>" {
        let equal = match &y {
            Val::S(y) => Some(to_string(&x) == *y),
            Val::I(y) => to_int(&x).map(|x| x == *y),
            Val::B(y) => to_bool(&x).map(|x| x == *y),
        };
        return equal.map_or((NO, Some("cast")), |equal| (Val::B(equal == (op == "=")), None));
    }
    let (Some(x), Some(y)) = (to_int(&x), to_int(&y)) else { return (zero, Some("cast")) };
    let (x, y) = (i64::from(x), i64::from(y));
    match op {
        "<" => (Val::B(x < y), None),
        "<=" => (Val::B(x <= y), None),
        ">" => (Val::B(x > y), None),
        ">=" => (Val::B(x >= y), None),
        "/" | "%" if y == 0 => (Val::I(0), Some("math")),
        "/" => narrow(x / y),
        "%" => narrow(x % y),
        "*" => narrow(x * y),
        "+" => narrow(x + y),
        _ => narrow(x - y),
    }
}

fn is_in(operand: &Ast, set: &[Ast], negated: bool, event: &Event) -> Result2 {
    let (x, error) = eval(operand, event);
    if error.is_some() {
        return (NO, error);
    }
    for element in set {
        let (y, error) = eval(element, event);
        if error.is_some() {
            return (NO, error);
        }
        let equal = match &x {
            Val::S(x) => Some(*x == to_string(&y)),
            Val::I(x) => to_int(&y).map(|y| *x == y),
            Val::B(x) => to_bool(&y).map(|y| *x == y),
        };
        match equal {
            None => return (NO, Some("cast")),
            Some(true) => return (Val::B(!negated), None),
            Some(false) => {}
        }
    }
    (Val::B(negated), None)
}

/// `table[i][j]`: whether the first `i` symbols match the first `j` characters.
pub fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let raw: Vec<char> = pattern.chars().collect();
    let mut symbols: Vec<(char, bool)> = Vec::new();
    let mut index = 0;
    while index < raw.len() {
        if raw[index] == '\\' && index + 1 < raw.len() && (raw[index + 1] == '%' || raw[index + 1] == '_') {
            symbols.push((raw[index + 1], false));
            index += 2;
        } else {
            symbols.push((raw[index], raw[index] == '%' || raw[index] == '_'));
            index += 1;
        }
    }
    let mut table = vec![vec![false; text.len() + 1]; symbols.len() + 1];
    table[0][0] = true;
    for (i, symbol) in symbols.iter().enumerate() {
        for j in 0..=text.len() {
            table[i + 1][j] = match symbol {
                ('%', true) => table[i][j] || (j > 0 && table[i + 1][j - 1]),
                ('_', true) => j > 0 && table[i][j - 1],
                (literal, _) => j > 0 && table[i][j - 1] && text[j - 1] == *literal,
            };
        }
    }
    table[symbols.len()][text.len()]
}

fn call(name: &str, arguments: &[Ast], event: &Event) -> Result2 {
    let zero = match (name, arguments.len()) {
        ("ABS" | "LENGTH" | "INT", 1) => Val::I(0),
        ("BOOL" | "IS_INT" | "IS_BOOL", 1) => NO,
        ("LOWER" | "UPPER" | "TRIM" | "STRING", 1) | ("LEFT" | "RIGHT", 2) | ("SUBSTRING", 2 | 3) | ("CONCAT", _) => {
            Val::S(String::new())
        }
        ("CONCAT_WS", count) if count > 0 => Val::S(String::new()),
        _ => return (NO, Some("missingFunction")),
    };
    let mut values = Vec::new();
    for argument in arguments {
        match eval(argument, event) {
            (value, None) => values.push(value),
            (_, Some(error)) => return (zero, Some(error)),
        }
    }
    match name {
        "ABS" => match to_int(&values[0]) {
            None => (zero, Some("cast")),
            Some(i32::MIN) => (Val::I(i32::MAX), Some("math")),
            Some(number) => (Val::I(number.abs()), None),
        },
        "INT" => to_int(&values[0]).map_or((zero, Some("cast")), |number| (Val::I(number), None)),
        "BOOL" => to_bool(&values[0]).map_or((zero, Some("cast")), |truth| (Val::B(truth), None)),
        "IS_INT" => (Val::B(to_int(&values[0]).is_some()), None),
        "IS_BOOL" => (Val::B(to_bool(&values[0]).is_some()), None),
        _ => strings(name, &values),
    }
}

fn strings(name: &str, values: &[Val]) -> Result2 {
    let texts: Vec<String> = values.iter().map(to_string).collect();
    let string = |text: String| (Val::S(text), None);
    match name {
        "LENGTH" => (Val::I(i32::try_from(texts[0].chars().count()).unwrap()), None),
        "CONCAT" => string(texts.concat()),
        "CONCAT_WS" => string(texts[1..].join(&texts[0])),
        "LOWER" => string(texts[0].to_lowercase()),
        "UPPER" => string(texts[0].to_uppercase()),
        "TRIM" => string(texts[0].trim().to_owned()),
        "STRING" => string(texts[0].clone()),
        _ => {
            let Some(numbers) = values[1..].iter().map(to_int).collect::<Option<Vec<i32>>>() else {
                return (Val::S(String::new()), Some("cast"));
            };
            cut(name, &texts[0], &numbers)
        }
    }
}

fn cut(name: &str, text: &str, numbers: &[i32]) -> Result2 {
    let characters: Vec<char> = text.chars().collect();
    let length = i64::try_from(characters.len()).unwrap();
    let position = i64::from(numbers[0]);
    let between = |from: i64, to: i64| {
        let part = &characters[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        (Val::S(part.iter().collect()), None)
    };
    match name {
        "LEFT" | "RIGHT" if position < 0 => (Val::S(text.to_owned()), Some("functionEvaluation")),
        "LEFT" => between(0, position.min(length)),
        "RIGHT" => between((length - position).max(0), length),
        _ => {
            let count = numbers.get(1).map_or(i64::MAX / 2, |count| i64::from(*count));
            if position > length || position < -length || count < 0 {
                return (Val::S(String::new()), Some("functionEvaluation"));
            }
            if position == 0 {
                return (Val::S(String::new()), None);
            }
            let from = if position > 0 { position - 1 } else { length + position };
            between(from, (from + count).min(length))
        }
    }
}
