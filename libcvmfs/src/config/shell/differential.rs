//! The evaluator against the real `/bin/sh`, on written and on generated scripts.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 8] = ["A", "B", "C", "D", "E", "N", "M", "CVMFS_X"];

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(path).ok())
    }
    fn facts(&self, path: &Path) -> Option<Facts> {
        let m = std::fs::metadata(path).ok()?;
        Some(Facts { directory: m.is_dir(), regular: m.is_file(), size: m.len(), mode: m.permissions().mode() })
    }
}

type Values = BTreeMap<String, Option<String>>;

fn ours(file: &Path, start: &[(&str, &str)]) -> Result<Values, ShellError> {
    let variable = |text: &str| Variable { text: text.into(), ..Variable::default() };
    let variables = start.iter().map(|(n, v)| ((*n).to_owned(), variable(v))).collect();
    let surroundings = Surroundings { variables, ..Surroundings::default() };
    let outcome = evaluate(file, &std::fs::read(file).unwrap(), surroundings, &Disk)?;
    Ok(NAMES.iter().map(|n| ((*n).to_owned(), outcome.variables.get(*n).map(|v| v.text.clone()))).collect())
}

fn theirs(file: &Path, start: &[(&str, &str)]) -> Result<Values, String> {
    let mut program = String::from(". ./\"$1\"\n");
    for name in NAMES {
        program += &format!("printf '%s\\0' \"${{{name}+set}}\" \"${name}\"\n");
    }
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &program, "sh"]).arg(file.file_name().unwrap()).current_dir(file.parent().unwrap());
    let output = shell.env_clear().envs(start.iter().copied()).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<&str> = text.split('\0').collect();
    if fields.len() != 2 * NAMES.len() + 1 || !complaints.is_empty() {
        return Err(complaints);
    }
    let value = |(i, name): (usize, &&str)| {
        ((*name).to_owned(), (fields[2 * i] == "set").then(|| fields[2 * i + 1].to_owned()))
    };
    Ok(NAMES.iter().enumerate().map(value).collect())
}

fn compare(script: &str, start: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script.conf");
    std::fs::write(&file, script).unwrap();
    std::fs::write(directory.path().join("common.inc"), "B=\"from common: $A\"\n: ${C:=default}\nreturn\nD=never\n")
        .unwrap();
    let (mine, sh) = (ours(&file, start), theirs(&file, start));
    match (mine, sh) {
        (Ok(mine), Ok(sh)) => assert_eq!(mine, sh, "script:\n{script}"),
        (mine, sh) => panic!("ours {mine:?}, sh {sh:?}, script:\n{script}"),
    }
}

#[test]
fn written_scripts_give_what_sh_gives() {
    let scripts = [
        "A=1; B=2;C=3",
        "A='a b'\"$A c\"d\\ e\\\nf # no\nB=x#y",
        "A=\"x\n y\\\n z \\$A \\q \\\\\"\nB='\\'",
        "A=${B:-${C:-x y}}\nD=\"${B:=q \"r s\" t}\"\nC=${A:+yes}${Z+no}${A-no}",
        "A=abc.def.ghi; B=${A%.*}; C=${A%%.*}; D=${A#*.}; E=${A##*.}; N=${#A}",
        "A='a*c'; B=${A%\"*\"c}; C=${A#a\\*}",
        "N=$((1 + 2 * 3 - -4)); M=$(( (N % 4) >= 2 && N != 7 )); A=$((0x10 + 010))$((!0))",
        "if [ -z \"$A\" ]; then B=empty; elif [ \"$A\" = x ]; then B=x; else B=else; fi",
        "A=x\nif [ \"$A\" = DIRECT ] || [ \"$A\" = x ]\nthen\n B=yes\nfi\n[ -n \"$B\" ] && C=$B || C=none",
        "A=x; case \"$A\" in y|z) B=1;; [w-x]*) B=2 ;; *) B=3; esac",
        "A='*'; case x in \"$A\") B=quoted;; $A) B=pattern;; esac",
        "A=one\n. ./common.inc\nE=$B",
        "f() { B=\"$1-$#\"; return 3; C=no; }\nf x y\nN=$?",
        "export A=\"a b\" B\nreadonly C=c\nD=$C",
        ": ${A:=x} ${B=y}\nunset A",
        "! [ -f ./common.inc ] && A=1; [ ! -d ./common.inc ] && B=1; [ -e . -a ! -e nothing ] && C=1; [ -s common.inc ] && D=1",
        "[ 3 -gt 2 -a \\( 1 -eq 2 -o 2 -le 2 \\) ] && A=yes; test a != b && B=yes",
        "if false; then :; fi; N=$?; false; M=$?",
        "{ A=1; { B=2; }; } >/dev/null 2>&1",
        "A='1 2'; set -- ; for_=x; B=${A}3$A\nC=$ D=a$\n",
        "A=\"it's\"; B='say \"x\"'; C=a\"\"b''c; D=; E=\"\"",
        "A=\"${B:-it's}\"; C=\"${B:-\"x y\"}\"",
        "HOME=/home/u; A=~/x; B=a:~; C=\"~\"; D='~'; E=a~",
        "true && false || A=1; false || true && B=1",
        "A=1 # ${ unclosed \' in a comment\n\n\n  B=2",
    ];
    for script in scripts {
        compare(script, &[]);
        compare(script, &[("A", "x"), ("B", "from outside"), ("CVMFS_X", "DIRECT")]);
    }
}

fn literal() -> impl Strategy<Value = String> {
    "[a-z0-9/:._@,+-]{1,6}"
}

fn expression(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![(0..30i32).prop_map(|n| n.to_string()), Just("N".into()), Just("$M".into())];
    leaf.prop_recursive(depth, 8, 2, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "==", "!=", "<", ">", "<=", ">=", "&&", "||"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (inner.clone(), prop::sample::select(vec!["+", "-", "*"]), inner.clone())
                .prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            (inner.clone(), 1..9i32).prop_map(|(a, n)| format!("({a}) % {n}")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
    .boxed()
}

fn word() -> BoxedStrategy<String> {
    let name = || prop::sample::select(vec!["A", "B", "C", "D", "E", "CVMFS_X"]);
    let leaf = prop_oneof![
        literal(),
        name().prop_map(|n| format!("${n}\"\"")),
        name().prop_map(|n| format!("${{{n}}}")),
        name().prop_map(|n| format!("${{#{n}}}")),
        "'[ -&(-~]{0,6}'",
        "\\\\[ -~]",
        "\"[ a-z'#;|&()<>*?=-]{0,6}\"",
        expression(2).prop_map(|e| format!("$(({e}))")),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let operator = prop::sample::select(vec![":-", "-", ":=", "=", ":+", "+"]);
        let pattern = prop::sample::select(vec!["*", "?", "[a-m]", "[!a]*", "\\*", "'?'", "a", "*.", "/*"]);
        let trim = prop::sample::select(vec!["#", "##", "%", "%%"]);
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a + &b),
            (name(), operator.clone(), inner).prop_map(|(n, o, w)| format!("${{{n}{o}{w}}}")),
            (name(), operator, "[a-z ]{0,5}").prop_map(|(n, o, w)| format!("\"${{{n}{o}{w}}}\"")),
            (name(), trim, pattern).prop_map(|(n, o, p)| format!("${{{n}{o}{p}}}")),
        ]
    })
    .boxed()
}

fn condition() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["A", "B", "C", "D"]);
    prop_oneof![
        (name(), prop::sample::select(vec!["=", "!="]), literal())
            .prop_map(|(n, o, w)| format!("[ \"${n}\" {o} \"{w}\" ]")),
        (prop::sample::select(vec!["-z", "-n", "! -n"]), name()).prop_map(|(o, n)| format!("[ {o} \"${n}\" ]")),
        (expression(1), prop::sample::select(vec!["-eq", "-ne", "-lt", "-ge"]), 0..5i32)
            .prop_map(|(e, o, n)| format!("test $(({e})) {o} {n}")),
        Just("! [ -f common.inc ]".to_owned()),
    ]
}

fn statements() -> BoxedStrategy<String> {
    let name = || prop::sample::select(vec!["A", "B", "C", "D", "E", "CVMFS_X"]);
    let leaf = prop_oneof![
        4 => (name(), word()).prop_map(|(n, w)| format!("{n}={w}")),
        1 => expression(3).prop_map(|e| format!("N=$(({e}))")),
        1 => (name(), word(), name(), literal()).prop_map(|(n, w, m, v)| format!("{n}={w} {m}={v}; M=$?")),
        1 => (name(), literal()).prop_map(|(n, w)| format!("export {n}={w} # why")),
        1 => (name(), literal()).prop_map(|(n, w)| format!(": ${{{n}:={w}}}")),
        1 => name().prop_map(|n| format!("unset {n}")),
        1 => Just(". ./common.inc".to_owned()),
        1 => (condition(), name(), literal(), name()).prop_map(|(c, n, v, m)| format!("{c} && {n}={v} || {m}=\\\n'no'")),
    ];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(vec!["\n", " ; ", "\n\n # x\n\t"]), inner.clone())
                .prop_map(|(a, s, b)| if a.ends_with("why") { format!("{a}\n{b}") } else { a + s + &b }),
            (condition(), inner.clone(), inner.clone())
                .prop_map(|(c, a, b)| format!("if {c}; then\n{a}\nelse {b}\nfi")),
            (condition(), inner.clone(), condition(), inner.clone())
                .prop_map(|(c, a, d, b)| format!("if {c} || {d}; then {a}\nelif {d}\nthen\n{b}\nfi")),
            (word(), literal(), inner.clone(), inner)
                .prop_map(|(w, p, a, b)| format!("case {w} in\n  {p}|a*) {a}\n;;\n  *)\n{b}\nesac")),
        ]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn generated_scripts_give_what_sh_gives(script in statements()) {
        compare(&script, &[("A", "a.b/c"), ("B", ""), ("N", "3"), ("M", "4")]);
    }

    #[test]
    fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz(&bytes);
    }

    #[test]
    fn any_mixture_of_tokens_ends_in_a_result(tokens in prop::collection::vec(prop::sample::select(vec![
        "A=", "$A", "${A", "}", ":-", ":=", "#", "%", "'", "\"", "\\", "\n", ";", ";;", " ", "if ", "then ", "else ", "fi ",
        "case ", "in ", "esac", "|", "&&", "(", ")", "$((", "))", "$(", "`", "[ ", " ]", "-z ", "=", "!", "{ ", "f()", "f ", ". x",
        "return", "unset A", "1", "*", "~", ">", "2>/dev/null", "export ", "0", "00", "é",
    ]), 0..60)) {
        fuzz(tokens.concat().as_bytes());
    }
}

fn fails(script: &str) -> ShellError {
    evaluate(Path::new("x.conf"), script.as_bytes(), Surroundings::default(), &Disk).unwrap_err()
}

#[test]
fn what_is_not_supported_names_file_and_line() {
    for (script, line, what) in [
        ("A=1\nfor x in a; do B=1; done", 2, "'for' is not supported"),
        ("while true; do :; done", 1, "'while' is not supported"),
        ("\n\ncat <<X\nX", 3, "here-documents"),
        ("A=1 &", 1, "background"),
        ("(A=1)", 1, "subshells"),
        ("[[ -z $A ]]", 1, "use [ ... ]"),
        ("A=(1 2)", 1, "arrays"),
        ("echo x > /etc/passwd", 1, "/dev/null only"),
        ("if true\nthen A=1\n", 3, "ends inside"),
        ("A='x", 1, "single quote is not closed"),
        ("if grep -q x /etc/passwd; then A=1; fi", 1, "grep"),
        ("A=$(hostname)\nif [ \"$A\" = x ]; then B=1; fi", 2, "hostname"),
        (". ./nothing-here", 1, "no such file"),
        ("readonly A=1\nA=2", 2, "read-only"),
        ("A=\0", 1, "NUL"),
        ("eval A=1", 1, "'eval' is not supported"),
        ("A=$((1 / 0))", 1, "division by zero"),
        ("A=x\n: ${B:?is needed}", 2, "B: is needed"),
    ] {
        let error = fails(script);
        assert!(error.line == line && error.what.contains(what), "{script:?}: {error}");
        assert_eq!(error.file, Path::new("x.conf"));
    }
}

#[test]
fn growth_and_recursion_are_bounded() {
    let doubling = format!("A=xxxxxxxxxxxxxxxx\n{}", "A=$A$A\n".repeat(60));
    assert!(fails(&doubling).what.contains("too long"));
    assert!(fails("f() { f; }\nf").what.contains("too deeply"));
    assert!(fails(&format!("A={}x{}", "${B:-".repeat(5000), "}".repeat(5000))).what.contains("too deeply"));
    assert!(fails(&format!("A=$(({}1{}))", "(".repeat(5000), ")".repeat(5000))).what.contains("too deeply"));
    assert!(fails(&format!("f() {{ {} }}\nf\nf", ":;".repeat(60_000))).what.contains("too many commands"));
    assert!(fails(&"#".repeat(MAX_FILE + 1)).what.contains("larger"));
}

#[test]
fn a_command_that_is_not_installed_fails_and_its_output_is_unusable() {
    let script = b"if /no/such/validator 2>/dev/null; then A=1; else A=2; fi\nB=x$(arch)\nC=$B/y\nsome-tool x\n";
    let outcome = evaluate(Path::new("x.conf"), script, Surroundings::default(), &Disk).unwrap();
    assert_eq!(outcome.variables["A"].text, "2");
    assert!(outcome.variables["C"].needs.as_deref().unwrap().contains("$(arch)' at x.conf:2"));
    assert_eq!(outcome.warnings.len(), 3, "{:?}", outcome.warnings);
    assert_eq!(outcome.parameters, ["A", "A", "B", "C"]);
}
