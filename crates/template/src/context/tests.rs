//! Templates in, texts or errors out.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use swarmkit_api::{NodeId, ServiceId, TaskId};

use super::*;

fn context() -> Context {
    let labels = [("tier", "front"), ("zone", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let service = wire::Annotations { name: "web".into(), labels: BTreeMap::from(labels), ..Default::default() };
    let task = Task {
        service_id: Some(ServiceId::from("s1")),
        node_id: Some(NodeId::from("n1")),
        slot: 3,
        service_annotations: Arc::new(service),
        ..Task::new(TaskId::from("t1"), wire::TaskSpec::default())
    };
    let platform = wire::Platform { architecture: "x86_64".into(), os: "linux".into() };
    let node = wire::NodeDescription { hostname: "host".into(), platform: Some(platform), ..Default::default() };
    Context::new(&task, Some(&node))
}

fn check(cases: &[(&str, &str)]) {
    let context = context();
    for (template, expected) in cases {
        let told = expand(template, &context).unwrap_or_else(|error| format!("error: {error}"));
        assert_eq!(told, *expected, "{template}");
    }
}

#[test]
fn every_placeholder_has_its_value() {
    check(&[
        ("plain }} text", "plain }} text"),
        ("{{.Service.ID}} {{.Service.Name}}", "s1 web"),
        (
            "{{.Node.ID}} {{.Node.Hostname}} {{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}",
            "n1 host linux/x86_64",
        ),
        ("{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}", "t1 web.3.t1 3"),
        ("{{.Service.Labels.tier}}", "front"),
        ("{{.Service.Labels}}", "map[tier:front zone:b]"),
        ("{{.Node.Platform}}", "{x86_64 linux}"),
        ("{{join \"-\" .Service.Name .Task.Slot}}", "web-3"),
    ]);
}

#[test]
fn a_task_of_a_global_service_has_its_node_for_a_slot() {
    let task = Task { node_id: Some(NodeId::from("n7")), ..Task::new(TaskId::from("t1"), wire::TaskSpec::default()) };
    let context = Context::new(&task, None);
    assert_eq!(expand("{{.Task.Slot}}|{{.Node.Hostname}}|{{.Task.Name}}", &context).unwrap(), "n7||.n7.t1");
}

#[test]
fn conditions_loops_and_variables_work() {
    check(&[
        ("{{if eq .Task.Slot \"3\"}}three{{else}}other{{end}}", "three"),
        ("{{if false}}a{{else if .Service.Name}}b{{else}}c{{end}}", "b"),
        ("{{with .Service}}{{.Name}} {{$.Task.ID}}{{end}}", "web t1"),
        ("{{with \"\"}}a{{else}}b{{end}}", "b"),
        ("{{with $x := .Service.Name}}{{$x}}{{.}}{{end}}", "webweb"),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}", "tier=front;zone=b;"),
        ("{{range .Service.Labels}}[{{.}}]{{end}}", "[front][b]"),
        ("{{range $v := .Service.Labels}}{{$v}}{{break}}{{end}}", "front"),
        ("{{range $i := 4}}{{if eq $i 1}}{{continue}}{{end}}{{$i}}{{end}}", "023"),
        ("{{range 0}}a{{else}}none{{end}}", "none"),
        ("{{$n := 1}}{{range 3}}{{$n = .}}{{end}}{{$n}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Service.Name}}{{template \"t\"}}", "<web><<no value>>"),
        ("{{block \"b\" .Task}}{{.ID}}{{end}}", "t1"),
        ("a {{- 1 -}} b", "a1b"),
        ("a{{/* note */}}b {{- /* note */ -}} c", "abc"),
        ("{{(index .Service.Labels \"tier\")}} {{(.Service).Name}} {{$s := .Service}}{{$s.Name}}", "front web web"),
    ]);
}

#[test]
fn functions_and_pipelines_work() {
    check(&[
        ("{{.Service.Name | printf \"%s-%s\" \"a\"}}", "a-web"),
        ("{{\"x\" | len | printf \"%03d\"}}", "001"),
        ("{{and 1 0 2}} {{and 1 2}} {{or 0 \"\" 3}} {{or 0 \"\"}} {{not 0}}", "0 2 3  true"),
        ("{{or true (index 1 2)}}", "true"),
        (
            "{{eq 1 2 1}} {{ne \"a\" \"b\"}} {{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1.5 2.5}}",
            "true true true true true false",
        ),
        (
            "{{len .Service.Labels}} {{index .Service.Labels \"none\"}}| {{index \"abc\" 1}} {{slice \"abcd\" 1 3}}",
            "2 | 98 bc",
        ),
        ("{{print 1 2 \"a\" 3}} {{println 1 \"a\"}}", "1 2a3 1 a\n"),
        (
            "{{html \"<a&'\\\"\"}} {{js \"a='<\"}} {{urlquery \"a b/ü\"}}",
            "&lt;a&amp;&#39;&#34; a\\u003D\\'\\u003C a+b%2F%C3%BC",
        ),
        ("{{true}} {{1.5}} {{1e21}} {{0.00001}} {{100000.0}} {{print nil}}", "true 1.5 1e+21 1e-05 100000 <nil>"),
    ]);
}

#[test]
fn layouts_are_filled_as_their_verbs_say() {
    check(&[
        (
            "{{printf \"%5d|%-5d|%05d|%+d|%x|%#X|%o|%b|%c|%U\" 42 42 42 42 42 42 8 5 65 233}}",
            "   42|42   |00042|+42|2a|0X2A|10|101|A|U+00E9",
        ),
        (
            "{{printf \"%s|%6s|%-6s|%.2s|%q|%x\" \"abc\" \"abc\" \"abc\" \"abc\" \"a\\n\\\"\" \"hi\"}}",
            "abc|   abc|abc   |ab|\"a\\n\\\"\"|6869",
        ),
        ("{{printf \"%v %t %T %T\" true false 1 \"a\"}}", "true false int string"),
        ("{{printf \"%f %.2f %8.3f %e %g\" 1.5 1.255 3.14159 1500.0 0.5}}", "1.500000 1.25    3.142 1.500000e+03 0.5"),
        ("{{printf \"%d%%\" 5}} {{printf \"%*d\" 4 7}}", "5%    7"),
        (
            "{{printf \"%d\" \"a\"}} {{printf \"%s\"}} {{printf \"%s\" \"a\" 1}} {{printf \"%\"}}",
            "%!d(string=a) %!s(MISSING) a%!(EXTRA int=1) %!(NOVERB)",
        ),
    ]);
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    check(&[
        ("{{.Nothing}}", "error: line 1, column 3: . has no field Nothing"),
        ("a\nb {{.Service.Foo}}", "error: line 2, column 13: .Service has no field Foo"),
        ("{{.Task.Labels}}", "error: line 1, column 8: .Task has no field Labels"),
        ("{{.Service.Labels.foo}}", "error: line 1, column 18: .Service.Labels has no entry \"foo\""),
        ("{{.Service.Name.X}}", "error: line 1, column 16: .Service.Name is a string and has no field X"),
        ("{{if}}{{end}}", "error: line 1, column 5: a value is missing"),
        ("{{if 1}}", "error: line 1, column 9: the template ends too early"),
        ("{{end}}", "error: line 1, column 3: unexpected end"),
        ("{{else}}", "error: line 1, column 3: unexpected else"),
        ("{{range .Service.Name}}{{end}}", "error: line 1, column 9: a range cannot go over a string"),
        ("{{break}}", "error: line 1, column 3: break outside of a range"),
        ("{{nonsense 1}}", "error: line 1, column 3: function \"nonsense\" not defined"),
        ("{{$x}}", "error: line 1, column 3: undefined variable $x"),
        ("{{$x = 1}}", "error: line 1, column 3: undefined variable $x"),
        ("{{if true}}{{$y := 1}}{{end}}{{$y}}", "error: line 1, column 32: undefined variable $y"),
        ("{{template \"x\"}}", "error: line 1, column 1: template \"x\" is not defined"),
        (
            "{{define \"x\"}}a{{end}}{{define \"x\"}}b{{end}}",
            "error: line 1, column 23: template \"x\" is defined twice",
        ),
        ("{{1 2}}", "error: line 1, column 5: only a function takes arguments"),
        ("{{1 | 2}}", "error: line 1, column 7: a constant cannot be given a value"),
        ("{{nil | print}}", "error: line 1, column 3: nil is not a command"),
        ("{{(1}}", "error: line 1, column 3: this parenthesis is not closed"),
        ("{{eq 1 \"a\"}}", "error: line 1, column 3: eq: a int and a string cannot be compared"),
        ("{{index \"abc\" 3}}", "error: line 1, column 3: index: 3 is out of range"),
        ("{{slice \"abc\" 2 1}}", "error: line 1, column 3: slice: 2:1 is out of range"),
        ("{{join}}", "error: line 1, column 3: join: a separator is missing"),
        ("{{secret \"a\"}}", "error: line 1, column 3: secret: only secrets and configs can use this"),
        ("{{\"a\"\"b\"}}", "error: line 1, column 6: a space is missing"),
    ]);
}

#[test]
fn no_template_takes_for_ever_or_fills_the_memory() {
    let doubling = "{{$x := \"xxxxxxxxxxxxxxxx\"}}{{range 60}}{{$x = print $x $x}}{{end}}";
    let deep = format!("{}1{}", "{{if 1}}".repeat(1000), "{{end}}".repeat(1000));
    let body = format!("{}{{{{template \"x\"}}}}{}", "{{if 1}}".repeat(90), "{{end}}".repeat(90));
    let spiral = format!("{{{{define \"x\"}}}}{body}{{{{end}}}}{{{{template \"x\"}}}}");
    let wide = format!("{{{{printf \"{}\" 1}}}}", "%1000000[1]d".repeat(100));
    let nested = format!("{{{{{}1{}}}}}", "(".repeat(1000), ")".repeat(1000));
    check(&[
        ("{{range 1000000000}}{{end}}", "error: the template exceeds the limit of work"),
        ("{{range 1000000}}0123456789{{end}}", "error: the template exceeds the limit of 4 MiB of output"),
        (
            "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}",
            "error: the template exceeds the limit of 250 levels of nesting",
        ),
        (doubling, "error: the template exceeds the limit of 4 MiB in one value"),
        (&deep, "error: the template exceeds the limit of 100 levels of nesting"),
        (&spiral, "error: the template exceeds the limit of 250 levels of nesting"),
        (&nested, "error: the template exceeds the limit of 100 levels of nesting"),
        ("{{printf \"%999999999d\" 1}}", "1"),
        (&wide, "error: the template exceeds the limit of 4 MiB in one value"),
        ("{{range 1000000}}{{$x := print $.Service.Labels}}{{end}}", "error: the template exceeds the limit of work"),
    ]);
}

/// What Go 1.19 makes of templates of ours, one a line: the template, and after a tab `=` and the output or `!` for an error. Made
/// with its `text/template` and the context of these tests. Left out is what later versions have (ranges over numbers, `else
/// with`), and what neither needs: complex and hexadecimal floating-point numbers.
const LANGUAGE: &str = include_str!("language.tsv");

fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = String::new();
    while let Some(c) = characters.next() {
        out.push(match (c, c == '\\') {
            (c, false) => c,
            (_, true) => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(c) => c,
                None => panic!("{text}: nothing after a backslash"),
            },
        });
    }
    out
}

#[test]
fn the_language_means_what_its_first_implementation_says() {
    let context = context();
    let mut different = Vec::new();
    for line in LANGUAGE.lines() {
        let (template, expected) = line.split_once('\t').unwrap();
        let (template, expected) = (unescaped(template), expected.strip_prefix('=').map(unescaped));
        let told = expand(&template, &context);
        if told.as_ref().ok() != expected.as_ref() {
            different.push(format!("{template:?}: {told:?}, not {expected:?}"));
        }
    }
    assert!(LANGUAGE.lines().count() > 150);
    assert_eq!(different.join("\n"), "");
}

/// Pieces that make templates which are nearly right.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        ".",
        ".Service",
        ".Name",
        ".Labels",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ",",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "\"t\"",
        "`r`",
        "'c'",
        "1",
        "0x",
        "-2.5e3",
        "printf",
        "\"%5.2v%*d\"",
        "index",
        "slice",
        "len",
        "eq",
        "and",
        "join",
        "nil",
        "true",
        "/*",
        "*/",
        "text",
        "\n",
        "ü",
        "\\",
    ];
    prop_oneof![4 => proptest::sample::select(Vec::from(pieces)).prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = expand(&text, &context());
    }

    #[test]
    fn nothing_that_looks_like_a_template_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..30)) {
        let _ = expand(&format!("{{{{{}", pieces.concat()), &context());
        let _ = expand(&pieces.concat(), &context());
    }

    #[test]
    fn no_layout_makes_it_panic(layout in "[%a-zA-Z0-9.*# +-]{0,12}", number in any::<i64>()) {
        let values = [Value::Int(number), Value::text("ü"), Value::Float(-0.5), Value::Nil];
        let _ = crate::format::printf(layout.as_bytes(), &values);
    }

    #[test]
    fn text_without_actions_stays_as_it_is(text in "[^{]{0,60}") {
        prop_assert_eq!(expand(&text, &context()).unwrap(), text);
    }
}
