//! What the kit does not ask: places of parse errors, limits, errors and their words, and what routers and people are told.

#![allow(clippy::unwrap_used, reason = "a test")]

use cesql::{Cause, ErrorKind, Expression, MAX_DEPTH, MAX_EXPRESSION, Outcome, Test, Value};

fn compile(source: &str) -> Expression {
    Expression::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn parse_errors_say_where_what_and_what_instead() {
    for (source, start, end, found, expected) in [
        ("type LIKE 'com.%' AND severitynumber => 17", 37, 39, "`=>`", "operator"),
        ("type LIKE", 9, 9, "the end of the expression", "pattern in quotes"),
        ("type LIKE 5", 10, 11, "`5`", "pattern in quotes"),
        ("", 0, 0, "the end of the expression", "a value"),
        ("a = ", 4, 4, "the end of the expression", "a value"),
        ("a = AND b", 4, 7, "the keyword `AND`", "a value"),
        ("(a = 1", 6, 6, "the end of the expression", "`)`"),
        ("a = 1)", 5, 6, "`)`", "end of the expression"),
        ("a IN ()", 6, 7, "`)`", "a value"),
        ("a IN 'x'", 5, 8, "the string 'x'", "`(`"),
        ("a IN ('x' 'y')", 10, 13, "the string 'y'", "`,`"),
        ("a NOT 5", 6, 7, "`5`", "LIKE or IN"),
        ("a = 'x", 4, 6, "a string that does not end", "closing '"),
        ("a == 1", 2, 4, "`==`", "operator"),
        ("a = 2147483648", 4, 14, "`2147483648`", "Integer"),
        ("my_name = 1", 0, 7, "`my_name`", "name of an attribute"),
        ("EXISTS 'a'", 7, 10, "the string 'a'", "name of an attribute"),
        ("f1(2)", 0, 2, "`f1`", "name of a function"),
        ("data.a = 1", 4, 5, "`.`", "operator"),
        ("é = 1", 0, 2, "`é`", "operator"),
        ("+ 5", 2, 3, "`5`", "digits right after"),
        ("ABC(", 4, 4, "the end of the expression", "a value"),
    ] {
        let error = Expression::compile(source).unwrap_err();
        assert_eq!((error.span.start, error.span.end), (start, end), "{source}: {error}");
        assert_eq!(error.found, found, "{source}");
        assert!(error.expected.contains(expected), "{source}: {error}");
        assert_eq!(error.kind(), ErrorKind::Parse);
    }
    let error = Expression::compile("a = 'it''s'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the expression does not parse at byte 8: found the string 's', expected an operator or the \
        end of the expression; a quote inside of a string is written \\' or \\\""
    );
}

#[test]
fn limits_hold() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    compile(&nested(MAX_DEPTH));
    for source in [
        nested(MAX_DEPTH + 1),
        "NOT ".repeat(MAX_DEPTH + 1) + "TRUE",
        "-".repeat(MAX_DEPTH + 2) + "1",
        "ABS(".repeat(3_000),
        "a IN (".repeat(2_000),
        "(".repeat(MAX_EXPRESSION),
    ] {
        let error = Expression::compile(&source).unwrap_err();
        assert!(error.found.contains("more than 32") || error.found.contains("level"), "{error}");
    }
    assert!(Expression::compile(&("a".to_owned() + &" LIKE 'a'".repeat(3))).is_err());
    let long = |count: usize| "id='x' OR ".repeat(count) + "TRUE";
    assert_eq!(compile(&long(1_600)).matches(&[("id", "1")]), Ok(true));
    let error = Expression::compile(&long(2_000)).unwrap_err();
    assert_eq!(error.span.start, MAX_EXPRESSION);
    assert!(Expression::compile(&format!("'{}'", "é".repeat(MAX_EXPRESSION))).is_err());

    let big = "x".repeat(40_000);
    let event = [("id", big.as_str())];
    let evaluation = compile("CONCAT(id, id)");
    let evaluation = evaluation.evaluate(&event);
    assert_eq!(evaluation.error.unwrap().cause, Cause::TooLong);
    assert_eq!(evaluation.value, Value::from(""));
}

/// Half of what a thread usually has; the unoptimised build needs the most.
#[test]
fn the_deepest_tree_fits_the_stack() {
    let open = "(TRUE = 1 + 2 * NOT (TRUE AND 1 = 2 + 3 * ".repeat(MAX_DEPTH / 3);
    let close = " LIKE 'a' LIKE 'x') LIKE 'a' LIKE 'x')".repeat(MAX_DEPTH / 3);
    let run = move || {
        for source in [format!("{open}1{close}"), "ABS(".repeat(MAX_DEPTH) + "1" + &")".repeat(MAX_DEPTH)] {
            let expression = compile(&source);
            let event = [("id", "1")];
            let _ = (expression.matches(&event), expression.explain(&event), expression.is_constant());
            let _ = (expression.evaluate(&event), expression.necessary(), expression.unguarded_attributes());
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn arithmetic_never_overflows() {
    for (source, value, cause) in [
        ("2147483647 + 1", 0, Some(Cause::Overflow)),
        ("-2147483648 - 1", 0, Some(Cause::Overflow)),
        ("65536 * 65536", 0, Some(Cause::Overflow)),
        ("-2147483648 / -1", 0, Some(Cause::Overflow)),
        ("-2147483648 % -1", 0, None),
        ("--2147483648", 0, Some(Cause::Overflow)),
        ("-2147483648", i32::MIN, None),
        ("4-1", 3, None),
        ("7 % -3", 1, None),
        ("-7 / 2", -3, None),
    ] {
        let expression = compile(source);
        let evaluation = expression.evaluate(&[("id", "1")]);
        assert_eq!((evaluation.value, evaluation.error.map(|e| e.cause)), (Value::Integer(value), cause), "{source}");
    }
}

#[test]
fn precedence_is_the_specifications() {
    for (source, expected) in [
        ("TRUE OR TRUE AND FALSE", false),
        ("FALSE AND FALSE OR TRUE", true),
        ("1 + 2 * 3 = 7", true),
        ("NOT FALSE = TRUE", true),
        ("NOT 'true' LIKE 'false'", true),
        ("1 = 1 = TRUE", true),
        ("TRUE = \"true\" AND FALSE = \"false\"", true),
        ("TRUE = \"TRUE\" OR FALSE = \"FALSE\"", false),
    ] {
        assert_eq!(compile(source).matches(&[("id", "1")]), Ok(expected), "{source}");
    }
}

#[test]
fn necessary_conditions_are_found_where_types_agree() {
    let one_of = |values: &[&'static str]| Test::OneOf(values.to_vec());
    for (source, expected) in [
        ("type = 'a'", vec![("type", one_of(&["a"]))]),
        ("'a' = type", vec![("type", one_of(&["a"]))]),
        ("((TYPE = 'a'))", vec![("type", one_of(&["a"]))]),
        ("type IN ('b', 'a', 'b')", vec![("type", one_of(&["a", "b"]))]),
        ("type LIKE 'com.%'", vec![("type", Test::StartsWith("com."))]),
        ("type LIKE 'com._x%y'", vec![("type", Test::StartsWith("com."))]),
        (r"type LIKE 'a\%b\_%'", vec![("type", Test::StartsWith("a%b_"))]),
        ("type LIKE 'com'", vec![("type", one_of(&["com"]))]),
        ("type = 'a' AND source LIKE 'x%'", vec![("type", one_of(&["a"])), ("source", Test::StartsWith("x"))]),
        ("type = 'a' OR type IN ('b', 'c')", vec![("type", one_of(&["a", "b", "c"]))]),
        (
            "(type = 'a' AND id = '1') OR (id = '2' AND type = 'b')",
            vec![("type", one_of(&["a", "b"])), ("id", one_of(&["1", "2"]))],
        ),
        ("type = 'a' OR source = 'b'", vec![]),
        ("type = 'a' AND id = '1' OR id = '2'", vec![("id", one_of(&["1", "2"]))]),
        ("type = 5", vec![]),
        ("type IN ('a', 5)", vec![]),
        ("type IN ('a', id)", vec![]),
        ("type != 'a'", vec![]),
        ("type NOT LIKE 'a%'", vec![]),
        ("type NOT IN ('a')", vec![]),
        ("type LIKE '%a'", vec![]),
        ("type = 'a' XOR TRUE", vec![]),
        ("NOT (type = 'a')", vec![]),
        ("type = 'a' = FALSE", vec![]),
        ("LOWER(type) = 'a'", vec![]),
    ] {
        let expression = compile(source);
        let found: Vec<_> = expression.necessary().into_iter().map(|n| (n.attribute, n.test)).collect();
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn constants_and_guards_are_seen() {
    for (source, constant) in [
        ("true", Some(true)),
        ("1 = 1 OR type = 'a'", Some(true)),
        ("type = 'a' OR TRUE", None),
        ("FALSE AND type = 'a'", Some(false)),
        ("type = 'a' AND FALSE", Some(false)),
        ("1 / 0 = 1", Some(false)),
        ("NO_SUCH(type) OR TRUE", Some(false)),
        ("EXISTS id", Some(true)),
        ("EXISTS subject", None),
        ("'maybe'", Some(false)),
        ("type = 'a'", None),
    ] {
        assert_eq!(compile(source).is_constant(), constant, "{source}");
    }
    for (source, unguarded) in [
        ("severity > 3", vec!["severity"]),
        ("EXISTS severity AND severity > 3", vec![]),
        ("severity > 3 AND EXISTS severity", vec!["severity"]),
        ("EXISTS a AND (type = 'x' OR a = 1)", vec![]),
        ("(EXISTS a AND a = 1) OR (EXISTS b AND b = a)", vec!["a"]),
        ("NOT EXISTS a OR a = 1", vec![]),
        ("EXISTS a OR a = 1", vec!["a"]),
        ("EXISTS a AND EXISTS b AND LENGTH(a) < b", vec![]),
        ("type = 'a' AND id = source", vec![]),
        ("subject = 'a'", vec!["subject"]),
    ] {
        let expression = compile(source);
        let found: Vec<_> = expression.unguarded_attributes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, unguarded, "{source}");
    }
    let expression = compile("B = 1 AND exists A and b = type");
    assert_eq!(expression.attributes(), ["a", "b", "type"]);
    let expression = compile("LENGHT(a) = 1 AND LEFT(a) = 'x'");
    let unknown: Vec<_> = expression.unknown_functions().into_iter().map(|span| span.of(expression.source())).collect();
    assert_eq!(unknown, ["LENGHT(a)", "LEFT(a)"]);
}

#[test]
fn errors_and_explanations_read_well() {
    let event = [("id", "1"), ("type", "org.example")];
    let expression = compile("(type LIKE 'org.%' AND severity >= 17) OR NOT EXISTS id");
    let error = expression.matches(&event).unwrap_err();
    assert_eq!(error.span.of(expression.source()), "severity");
    assert_eq!(expression.describe(&error), "`severity`: the event has no such attribute (bytes 23..31)");
    let steps: Vec<String> = expression.explain(&event).iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "type LIKE 'org.%': true (type is 'org.example')",
            "severity >= 17: the event has no such attribute (bytes 23..31) (severity is missing)",
            "EXISTS id: not evaluated",
        ]
    );
    let expression = compile("type = 'a' AND id = '1'");
    let steps = expression.explain(&event);
    assert_eq!(steps[0].outcome, Outcome::Value(Value::Boolean(false)));
    assert_eq!(steps[1].outcome, Outcome::Skipped);
    assert_eq!(steps[1].text, "id = '1'");
}
