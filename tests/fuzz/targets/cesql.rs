//! Arbitrary bytes as an expression and an event: nothing may panic, overflow the stack or contradict itself.
//!
//! The first line is the expression, each line after it the value of an attribute `a`, `b`, … (`type` is the first).

#![no_main]

use cesql::{Attributes, Expression, Value};
use libfuzzer_sys::fuzz_target;

struct Lines<'a>(Vec<&'a str>);

impl Attributes for Lines<'_> {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        let index = match name {
            "type" => 0,
            _ => usize::from(name.as_bytes().first()?.checked_sub(b'a')?) + 1,
        };
        self.0.get(index).map(|line| Value::from(*line))
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let source = lines.next().unwrap_or_default();
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(source.get(error.span.start..error.span.end).is_some(), "{error}");
            return;
        }
    };
    let event = Lines(lines.collect());
    let matches = expression.matches(&event);
    let evaluation = expression.evaluate(&event);
    if let Some(error) = evaluation.error {
        assert_eq!(matches, Err(error));
    }
    if let Some(constant) = expression.is_constant() {
        assert_eq!(matches == Ok(true), constant, "{source}");
    }
    if matches == Ok(true) {
        for necessary in expression.necessary() {
            let Some(Value::String(text)) = event.get(necessary.attribute) else { panic!("{source}: {necessary:?}") };
            assert!(necessary.test.holds(&text), "{source}: {necessary:?}");
        }
    }
    let _ = (expression.explain(&event), expression.unguarded_attributes(), expression.attributes());
});
