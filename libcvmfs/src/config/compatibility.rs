//! The chapter on parameters of the compatibility page, made from the table.

use std::fmt::Write;

use super::parameter::{Parameter, Status, Topic};
use super::table;

/// The line before the generated part of `doc/COMPATIBILITY.md`.
pub const BEGIN: &str = "<!-- parameters: generated from the table in libcvmfs/src/config/table -->";
/// The line after it.
pub const END: &str = "<!-- end of the generated part -->";

/// The generated part, markers left out.
pub fn parameters() -> String {
    let mut page = String::new();
    for topic in Topic::ALL {
        let rows: Vec<&Parameter> = table::all().filter(|p| p.topic == topic).collect();
        if rows.is_empty() {
            continue;
        }
        write!(page, "\n### {}\n\n", topic.title()).expect("a String takes all text");
        page.push_str(
            "| parameter | type | official default (code / default.conf) | here | meaning |\n|---|---|---|---|---|\n",
        );
        for p in rows {
            let code = |value: Option<&str>| value.map_or("–".to_owned(), |v| format!("`{v}`"));
            let default = format!("{} / {}", code(p.code_default), code(p.file_default));
            let (here, why) = match p.status {
                Status::Used => ("yes", ""),
                Status::Different(why) => ("different", why),
                Status::NoEffect(why) => ("no effect", why),
                Status::NotSupported(why) => ("no", why),
                Status::Ours => ("addition", ""),
            };
            let here = if why.is_empty() { here.to_owned() } else { format!("{here}: {why}") };
            let kind = p.kind.name().replace('|', "\\|");
            writeln!(page, "| `{}` | {kind} | {default} | {here} | {} |", p.name, p.meaning)
                .expect("a String takes all text");
        }
    }
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOC=1 cargo test` writes the page anew.
    #[test]
    fn the_committed_page_holds_the_generated_part() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/COMPATIBILITY.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (generated, after) = rest.split_once(END).unwrap();
        if std::env::var_os("UPDATE_DOC").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}\n{}{END}{after}", parameters())).unwrap();
            return;
        }
        assert!(generated == format!("\n{}", parameters()), "doc/COMPATIBILITY.md is old: run with UPDATE_DOC=1");
    }
}
