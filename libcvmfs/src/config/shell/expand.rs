//! Words to texts: variables, arithmetic, quotes, fields.

use super::evaluate::Evaluation;
use super::parse::{Change, Part, Piece, Word};
use super::{MAX_DEPTH, MAX_MATCHING, MAX_TEXT, ShellError, arithmetic, pattern};

/// A part of a word after expansion.
pub(super) struct Chunk {
    text: String,
    quoted: bool,
    /// Comes from an expansion: may fall apart into fields when it is not quoted.
    expanded: bool,
}

/// A word after expansion.
#[derive(Default)]
pub(super) struct Expanded {
    chunks: Vec<Chunk>,
    /// Bytes of all chunks.
    size: usize,
    /// The command whose output belongs here.
    pub(super) needs: Option<String>,
}

impl Expanded {
    fn push(&mut self, text: impl Into<String>, quoted: bool, expanded: bool) {
        let text = text.into();
        self.size += text.len();
        self.chunks.push(Chunk { text, quoted, expanded });
    }

    /// The whole text.
    pub(super) fn join(&self) -> String {
        self.chunks.iter().map(|c| c.text.as_str()).collect()
    }

    /// The text as a pattern: what was quoted stands for itself.
    pub(super) fn pattern(&self) -> Vec<char> {
        let mut pattern = Vec::new();
        for chunk in &self.chunks {
            for c in chunk.text.chars() {
                if chunk.quoted {
                    pattern.push('\\');
                }
                pattern.push(c);
            }
        }
        pattern
    }

    /// The fields of a command's word, and whether one of them could be a pattern of file names.
    pub(super) fn fields(&self) -> (Vec<String>, bool) {
        let (mut fields, mut current, mut patterns) = (Vec::new(), None::<String>, false);
        for chunk in &self.chunks {
            patterns |= !chunk.quoted && chunk.text.contains(['*', '?']);
            if chunk.quoted || !chunk.expanded {
                current.get_or_insert_default().push_str(&chunk.text);
                continue;
            }
            for c in chunk.text.chars() {
                if matches!(c, ' ' | '\t' | '\n') {
                    fields.extend(current.take());
                } else {
                    current.get_or_insert_default().push(c);
                }
            }
        }
        fields.extend(current);
        (fields, patterns)
    }
}

impl Evaluation<'_> {
    pub(super) fn expand(&mut self, word: &Word) -> Result<Expanded, ShellError> {
        let mut out = Expanded::default();
        self.deeper(|e| e.expand_into(word, false, &mut out))?;
        Ok(out)
    }

    fn expand_into(&mut self, word: &Word, nested: bool, out: &mut Expanded) -> Result<(), ShellError> {
        for piece in word {
            self.expand_piece(piece, nested, out)?;
            if out.size > MAX_TEXT {
                return Err(self.error("a value becomes too long"));
            }
        }
        Ok(())
    }

    fn expand_piece(&mut self, piece: &Piece, nested: bool, out: &mut Expanded) -> Result<(), ShellError> {
        let quoted = piece.quoted;
        match &piece.part {
            Part::Text(text) => out.push(text, quoted, nested),
            Part::Home => {
                let home = self.variable("HOME").unwrap_or_else(|| "~".into());
                out.push(home, true, false);
            }
            Part::Arithmetic(word) => {
                let inner = self.expand(word)?;
                if let Some(command) = &inner.needs {
                    return Err(self.error(format!("arithmetic needs the output of {command}, which is not run")));
                }
                let text = inner.join();
                let value = arithmetic::value(&text, &mut |name| self.variable(name).unwrap_or_default());
                out.push(value.map_err(|what| self.error(what))?.to_string(), quoted, true);
            }
            Part::Output(command) => {
                let place = self.not_run(&format!("$({})", command.trim()));
                out.needs = Some(place);
            }
            Part::Variable { name, change } => self.expand_variable(name, change, quoted, out)?,
        }
        Ok(())
    }

    fn expand_variable(
        &mut self,
        name: &str,
        change: &Change,
        quoted: bool,
        out: &mut Expanded,
    ) -> Result<(), ShellError> {
        let text = self.variable(name);
        let needs = self.needs(name);
        let known_missing = text.is_none() && needs.is_none();
        let known_empty = needs.is_none() && text.as_deref().is_none_or(str::is_empty);
        let text = text.unwrap_or_default();
        let missing = |colon: bool| if colon { known_empty } else { known_missing };
        match change {
            Change::None => {
                out.needs = needs.or(out.needs.take());
                out.push(text, quoted, true);
            }
            Change::Length => {
                out.needs = needs.or(out.needs.take());
                out.push(text.chars().count().to_string(), quoted, true);
            }
            Change::Default { operator: '+', colon, word } => {
                if !missing(*colon) {
                    self.expand_into(word, true, out)?;
                }
            }
            Change::Default { operator, colon, word } if missing(*colon) => match operator {
                '-' => self.expand_into(word, true, out)?,
                '=' => {
                    let value = self.expand(word)?;
                    out.push(value.join(), quoted, true);
                    out.needs = value.needs.clone().or(out.needs.take());
                    self.assign(name, value)?;
                }
                _ => {
                    let message = self.expand(word)?.join();
                    return Err(
                        self.error(format!("{name}: {}", if message.is_empty() { "not set" } else { &message }))
                    );
                }
            },
            Change::Default { .. } => {
                out.needs = needs.or(out.needs.take());
                out.push(text, quoted, true);
            }
            Change::Trim { suffix, longest, pattern } => {
                let pattern = self.expand(pattern)?;
                out.needs = needs.or(pattern.needs.clone()).or(out.needs.take());
                let pattern = pattern.pattern();
                // Every length is tried, and each try may look at the whole text.
                if text.len().saturating_mul(text.len()).saturating_mul(pattern.len()) > MAX_MATCHING {
                    return Err(self.error("a pattern is too costly for so long a value"));
                }
                out.push(pattern::trim(&pattern, &text, *suffix, *longest), quoted, true);
            }
        }
        Ok(())
    }

    /// Runs `f` one level deeper, if the limit allows.
    pub(super) fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, ShellError>) -> Result<T, ShellError> {
        if self.depth >= 2 * MAX_DEPTH {
            return Err(self.error("files, functions or values are nested too deeply"));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }
}
