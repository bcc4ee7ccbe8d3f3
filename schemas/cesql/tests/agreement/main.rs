//! The crate against a second evaluator, on random expressions and events; and its analyses against its evaluation.

#![allow(clippy::unwrap_used, reason = "a test")]

mod generate;
mod slow;

use std::borrow::Cow;
use std::cell::Cell;

use cesql::{Attributes, ErrorKind, Expression, Outcome, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slow::{Event, Val};

struct Borrowed<'a>(&'a Event);

impl Attributes for Borrowed<'_> {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        self.0.get(name).map(value)
    }
}

fn value(value: &Val) -> Value<'_> {
    match value {
        Val::S(text) => Value::String(Cow::Borrowed(text)),
        Val::I(number) => Value::Integer(*number),
        Val::B(truth) => Value::Boolean(*truth),
    }
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

#[test]
fn two_evaluators_agree_on_values_errors_and_matches() {
    let (fine, wrong) = (Cell::new(0), Cell::new(0));
    let strategy = (generate::expression(), generate::event(), any::<u64>());
    let run = TestRunner::new(config(6_000)).run(&strategy, |(ast, event, seed)| {
        let source = generate::render(&ast, seed);
        let expression = Expression::compile(&source).map_err(|e| TestCaseError::fail(format!("{source}\n{e}")))?;
        let (wanted, wanted_error) = slow::eval(&ast, &event);
        let attributes = Borrowed(&event);
        let evaluation = expression.evaluate(&attributes);
        let error = evaluation.error.map(|error| error.kind().as_str());
        prop_assert_eq!((&evaluation.value, error), (&value(&wanted), wanted_error), "{}", source);
        let matches = expression.matches(&attributes).map_err(|error| error.kind().as_str());
        let wanted = wanted_error.map_or_else(|| slow::to_bool(&wanted).ok_or("cast"), Err);
        prop_assert_eq!(matches, wanted, "{}", source);
        let count = if wanted_error.is_none() { &fine } else { &wrong };
        count.set(count.get() + 1);
        Ok(())
    });
    run.unwrap();
    assert!(
        fine.get() > 1_000 && wrong.get() > 1_000,
        "vacuous: {} without, {} with an error",
        fine.get(),
        wrong.get()
    );
}

#[test]
fn like_agrees_with_a_table() {
    let strategy = (generate::pattern(), "[abcmo%_.é\\\\]{0,8}");
    let run = TestRunner::new(config(4_000)).run(&strategy, |(pattern, text)| {
        let expression = Expression::compile(&format!("subject LIKE '{pattern}'")).unwrap();
        let event = [("subject", text.as_str())];
        prop_assert_eq!(expression.matches(&event), Ok(slow::like(&text, &pattern)), "'{}' LIKE '{}'", text, pattern);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn necessary_conditions_hold_whenever_the_expression_matches() {
    let (conditions, matched) = (Cell::new(0), Cell::new(0));
    let strategy = (generate::routing(), generate::routing_event(), any::<u64>());
    let run = TestRunner::new(config(40_000)).run(&strategy, |(ast, event, seed)| {
        let source = generate::render(&ast, seed);
        let expression = Expression::compile(&source).unwrap();
        let attributes = Borrowed(&event);
        if expression.matches(&attributes) != Ok(true) {
            return Ok(());
        }
        matched.set(matched.get() + 1);
        for necessary in expression.necessary() {
            match event.get(necessary.attribute) {
                None => prop_assert!(false, "{source}\nmatches without {}", necessary.attribute),
                Some(Val::S(text)) => prop_assert!(necessary.test.holds(text), "{source}\n{necessary:?}, '{text}'"),
                Some(Val::I(_) | Val::B(_)) => {}
            }
            conditions.set(conditions.get() + 1);
        }
        Ok(())
    });
    run.unwrap();
    assert!(conditions.get() > 1_000, "vacuous: {} conditions met {} matches", conditions.get(), matched.get());
}

#[test]
fn constants_guards_and_explanations_say_what_evaluation_does() {
    let (constants, missing) = (Cell::new(0), Cell::new(0));
    let any_expression = prop_oneof![generate::expression(), generate::routing()];
    let strategy = (any_expression, generate::event(), any::<u64>());
    let run = TestRunner::new(config(8_000)).run(&strategy, |(ast, event, seed)| {
        let source = generate::render(&ast, seed);
        let expression = Expression::compile(&source).unwrap();
        let attributes = Borrowed(&event);
        let matches = expression.matches(&attributes);
        if let Some(constant) = expression.is_constant() {
            prop_assert_eq!(matches == Ok(true), constant, "{}", source);
            constants.set(constants.get() + 1);
        }
        let steps = expression.explain(&attributes);
        let error = steps.iter().find_map(|step| match step.outcome {
            Outcome::Error(error) => Some(error),
            Outcome::Value(_) | Outcome::Skipped => None,
        });
        prop_assert!(!steps.is_empty());
        // NOT of a predicate that is no Boolean errs as a whole, in a step of its own.
        prop_assert_eq!(matches.err().map(|error| error.kind()), error.map(|error| error.kind()), "{}", source);
        let Err(error) = matches else { return Ok(()) };
        prop_assert!(source.get(error.span.start..error.span.end).is_some_and(|text| !text.is_empty()));
        if error.kind() == ErrorKind::MissingAttribute {
            missing.set(missing.get() + 1);
            let unguarded = expression.unguarded_attributes();
            prop_assert!(unguarded.iter().any(|(_, span)| *span == error.span), "{source}\n{error}, {unguarded:?}");
        }
        Ok(())
    });
    run.unwrap();
    assert!(constants.get() > 300 && missing.get() > 300, "vacuous: {} {}", constants.get(), missing.get());
}

#[test]
fn no_text_panics() {
    let tokens = proptest::sample::select(vec![
        "(",
        ")",
        ",",
        "'",
        "\"",
        "\\",
        "'a'",
        "NOT ",
        " LIKE ",
        " IN ",
        "EXISTS ",
        "-",
        "+",
        "--",
        "5",
        "99999999999",
        "a",
        " AND ",
        " OR ",
        "=",
        "!",
        "<",
        ">",
        "LEFT(",
        "SUBSTRING('é', ",
        "%",
        "/0",
        "*",
        "é",
        "\u{2028}",
        "id",
        "_",
        ".",
    ]);
    let soup = proptest::collection::vec(tokens, 0..24).prop_map(|tokens| tokens.concat());
    let strategy = prop_oneof![soup, "\\PC{0,60}"];
    let run = TestRunner::new(config(20_000)).run(&strategy, |source| {
        match Expression::compile(&source) {
            Err(error) => prop_assert!(source.get(error.span.start..error.span.end).is_some(), "{error}"),
            Ok(expression) => {
                let event = [("id", "1"), ("a", "é")];
                let _ = (expression.evaluate(&event), expression.explain(&event).len(), expression.is_constant());
                let _ = (expression.necessary().len(), expression.unguarded_attributes().len());
            }
        }
        Ok(())
    });
    run.unwrap();
}
