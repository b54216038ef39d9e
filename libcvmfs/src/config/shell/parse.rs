//! Text to commands.

use std::rc::Rc;

use super::MAX_DEPTH;

/// Commands in order.
pub(super) type List = Vec<AndOr>;

/// Pipelines joined by `&&` and `||`; the first one's joint means nothing.
pub(super) type AndOr = Vec<(Joint, Pipeline)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    And,
    Or,
}

#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) not: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) line: u32,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    /// `export`, `readonly`, `local` with their operands.
    Declare {
        readonly: bool,
        items: Vec<(String, Option<Word>)>,
    },
    If {
        branches: Vec<(List, List)>,
        otherwise: List,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, List)>,
    },
    Group(List),
    Function {
        name: String,
        body: Rc<Command>,
    },
}

/// A word before expansion.
pub(super) type Word = Vec<Piece>;

#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) quoted: bool,
    pub(super) part: Part,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    /// `$NAME`, `${NAME}`, `${NAME<op>word}`.
    Variable {
        name: String,
        change: Change,
    },
    /// `$((...))`.
    Arithmetic(Word),
    /// `$(...)` and backquotes.
    Output(String),
    /// `~` at a place where it means the home directory.
    Home,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    None,
    Length,
    /// `-`, `=`, `+`, `?`; with a colon the empty text counts as unset.
    Default {
        operator: char,
        colon: bool,
        word: Word,
    },
    /// `#`, `##`, `%`, `%%`.
    Trim {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
}

/// Line and message; the file is known to the caller.
pub(super) type Failure = (u32, String);
type Parsed<T> = Result<T, Failure>;

pub(super) fn parse(text: &str) -> Parsed<List> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, line: 1, depth: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    line: u32,
    depth: usize,
}

const RESERVED_END: &[&str] = &["then", "elif", "else", "fi", "esac", "}", "do", "done"];
const UNSUPPORTED: &[&str] = &["for", "while", "until", "select", "function", "[[", "time", "coproc"];

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn ends_word(c: char) -> bool {
    is_blank(c) || matches!(c, '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Parser {
    fn fail<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err((self.line, what.into()))
    }

    fn unexpected(&mut self) -> Failure {
        let what = match self.peek() {
            None => "the file ends inside a construct".to_owned(),
            Some('&') => "background commands are not supported".to_owned(),
            Some('(') => "subshells are not supported".to_owned(),
            Some(c) => {
                let word = self.plain_word();
                format!("unexpected '{}'", if word.is_empty() { c.escape_debug().to_string() } else { word })
            }
        };
        (self.line, what)
    }

    /// Skips backslash-newline pairs and looks at the next character.
    fn peek(&mut self) -> Option<char> {
        while self.text.get(self.at) == Some(&'\\') && self.text.get(self.at + 1) == Some(&'\n') {
            self.at += 2;
            self.line += 1;
        }
        self.text.get(self.at).copied()
    }

    fn peek_after(&mut self) -> Option<char> {
        self.peek()?;
        let (at, line) = (self.at, self.line);
        self.at += 1;
        let next = self.peek();
        (self.at, self.line) = (at, line);
        next
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.advance(c);
        Some(c)
    }

    /// The next character as it stands, for places where backslash-newline means nothing.
    fn next_raw(&mut self) -> Option<char> {
        let c = *self.text.get(self.at)?;
        self.advance(c);
        Some(c)
    }

    fn advance(&mut self, c: char) {
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.advance(expected);
        }
        found
    }

    fn nested<T>(&mut self, f: impl FnOnce(&mut Parser) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.fail("constructs are nested too deeply");
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek() {
            if is_blank(c) {
                self.at += 1;
            } else if c == '#' {
                // A comment ends at the newline whatever stands before it.
                while self.text.get(self.at).is_some_and(|c| *c != '\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            if !self.take('\n') {
                return;
            }
        }
    }

    /// The word ahead as far as it is plain text; nothing is consumed. Empty when it is quoted or expanded.
    fn plain_word(&mut self) -> String {
        let (at, line) = (self.at, self.line);
        let mut word = String::new();
        while let Some(c) = self.peek() {
            if ends_word(c) {
                break;
            }
            if matches!(c, '\'' | '"' | '\\' | '$' | '`') {
                word.clear();
                break;
            }
            word.push(c);
            self.at += 1;
        }
        (self.at, self.line) = (at, line);
        word
    }

    fn take_word(&mut self, word: &str) {
        for _ in word.chars() {
            self.next();
        }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        self.skip_lines();
        if self.plain_word() != word {
            let (line, what) = self.unexpected();
            return Err((line, format!("{what}, expected '{word}'")));
        }
        self.take_word(word);
        Ok(())
    }

    /// Commands up to a reserved word of `ends`, to `)` or `;;`, or to the end of the text.
    fn list(&mut self, ends: &[&str]) -> Parsed<List> {
        let mut list = List::new();
        loop {
            self.skip_lines();
            match self.peek() {
                None | Some(')') => return Ok(list),
                Some(';') if self.peek_after() == Some(';') => return Ok(list),
                Some(_) => {}
            }
            let word = self.plain_word();
            if ends.contains(&word.as_str()) {
                return Ok(list);
            }
            if RESERVED_END.contains(&word.as_str()) {
                return Err(self.unexpected());
            }
            list.push(self.and_or()?);
            self.skip_blanks();
            match self.peek() {
                Some(';') if self.peek_after() != Some(';') => {
                    self.next();
                }
                None | Some('\n' | ';' | ')') => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    fn non_empty_list(&mut self, ends: &[&str]) -> Parsed<List> {
        let list = self.nested(|p| p.list(ends))?;
        if list.is_empty() {
            return Err(self.unexpected());
        }
        Ok(list)
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let mut chain = vec![(Joint::And, self.pipeline()?)];
        loop {
            self.skip_blanks();
            let joint = match (self.peek(), self.peek_after()) {
                (Some('&'), Some('&')) => Joint::And,
                (Some('|'), Some('|')) => Joint::Or,
                _ => return Ok(chain),
            };
            self.next();
            self.next();
            self.skip_lines();
            chain.push((joint, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.skip_blanks();
        let not = self.plain_word() == "!";
        if not {
            self.take_word("!");
            self.skip_blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some('|') || self.peek_after() == Some('|') {
                return Ok(Pipeline { not, commands });
            }
            self.next();
            self.skip_lines();
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        self.skip_blanks();
        let line = self.line;
        let word = self.plain_word();
        let body = match word.as_str() {
            "if" => self.nested(|p| p.if_command())?,
            "case" => self.nested(|p| p.case_command())?,
            "{" => {
                self.take_word("{");
                let list = self.non_empty_list(&["}"])?;
                self.expect_word("}")?;
                Body::Group(list)
            }
            w if UNSUPPORTED.contains(&w) => {
                let hint = if w == "[[" { "; use [ ... ]" } else { "" };
                return self.fail(format!("'{w}' is not supported in configuration files{hint}"));
            }
            w if RESERVED_END.contains(&w) => return Err(self.unexpected()),
            w if self.is_function(w) => return self.function(line, w.to_owned()),
            "export" | "readonly" | "local" => self.declaration(&word)?,
            _ => return self.simple(line),
        };
        // Redirections of compound commands change nothing that matters here.
        self.skip_blanks();
        while self.redirection()? {
            self.skip_blanks();
        }
        Ok(Command { line, body })
    }

    fn is_function(&mut self, word: &str) -> bool {
        if !word.starts_with(starts_name) || !word.chars().all(in_name) {
            return false;
        }
        let (at, line) = (self.at, self.line);
        self.take_word(word);
        self.skip_blanks();
        let found = self.peek() == Some('(');
        (self.at, self.line) = (at, line);
        found
    }

    fn function(&mut self, line: u32, name: String) -> Parsed<Command> {
        self.take_word(&name);
        self.skip_blanks();
        self.next();
        self.skip_blanks();
        if !self.take(')') {
            return Err(self.unexpected());
        }
        self.skip_lines();
        if !matches!(self.plain_word().as_str(), "{" | "if" | "case") {
            return Err(self.unexpected());
        }
        let body = self.nested(|p| p.command())?;
        Ok(Command { line, body: Body::Function { name, body: Rc::new(body) } })
    }

    fn if_command(&mut self) -> Parsed<Body> {
        let mut branches = Vec::new();
        self.take_word("if");
        loop {
            let condition = self.non_empty_list(&["then"])?;
            self.expect_word("then")?;
            let body = self.non_empty_list(&["elif", "else", "fi"])?;
            branches.push((condition, body));
            match self.plain_word().as_str() {
                "elif" => self.take_word("elif"),
                "else" => {
                    self.take_word("else");
                    let otherwise = self.non_empty_list(&["fi"])?;
                    self.expect_word("fi")?;
                    return Ok(Body::If { branches, otherwise });
                }
                _ => {
                    self.expect_word("fi")?;
                    return Ok(Body::If { branches, otherwise: List::new() });
                }
            }
        }
    }

    fn case_command(&mut self) -> Parsed<Body> {
        self.take_word("case");
        self.skip_blanks();
        let word = self.word(false)?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_lines();
            if self.plain_word() == "esac" {
                self.take_word("esac");
                return Ok(Body::Case { word, arms });
            }
            self.take('(');
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.word(false)?);
                self.skip_blanks();
                if !self.take('|') {
                    break;
                }
            }
            if !self.take(')') {
                return Err(self.unexpected());
            }
            let body = self.nested(|p| p.list(&["esac"]))?;
            arms.push((patterns, body));
            self.skip_lines();
            if self.peek() == Some(';') {
                self.next();
                self.next();
            } else if self.plain_word() != "esac" {
                return Err(self.unexpected());
            }
        }
    }

    fn declaration(&mut self, word: &str) -> Parsed<Body> {
        self.take_word(word);
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.redirection()? {
                continue;
            }
            match self.peek() {
                None => break,
                Some(c) if ends_word(c) => break,
                Some(_) => {}
            }
            if let Some(name) = self.assignment_name()? {
                items.push((name, Some(self.value()?)));
                continue;
            }
            let name = self.plain_word();
            if !(name.starts_with(starts_name) && name.chars().all(in_name)) && name != "-p" {
                return self.fail(format!("'{word}' needs names, with or without a value"));
            }
            self.take_word(&name);
            if name != "-p" {
                items.push((name, None));
            }
        }
        Ok(Body::Declare { readonly: word == "readonly", items })
    }

    fn simple(&mut self, line: u32) -> Parsed<Command> {
        let (mut assignments, mut words) = (Vec::new(), Vec::new());
        let mut redirected = false;
        loop {
            self.skip_blanks();
            if self.redirection()? {
                redirected = true;
                continue;
            }
            match self.peek() {
                Some('(') => return Err(self.unexpected()),
                None => break,
                Some(c) if ends_word(c) => break,
                Some(_) => {}
            }
            if words.is_empty()
                && let Some(name) = self.assignment_name()?
            {
                assignments.push((name, self.value()?));
                continue;
            }
            words.push(self.word(false)?);
        }
        if assignments.is_empty() && words.is_empty() && !redirected {
            return Err(self.unexpected());
        }
        Ok(Command { line, body: Body::Simple { assignments, words } })
    }

    /// `NAME=` ahead: consumes it.
    fn assignment_name(&mut self) -> Parsed<Option<String>> {
        let (at, line) = (self.at, self.line);
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| in_name(*c)) {
            name.push(c);
            self.at += 1;
        }
        if name.starts_with(starts_name) {
            if self.take('=') {
                return Ok(Some(name));
            }
            if self.peek() == Some('+') && self.peek_after() == Some('=') {
                return self.fail(format!("'{name}+=' is not portable; write {name}=\"${name}...\""));
            }
        }
        (self.at, self.line) = (at, line);
        Ok(None)
    }

    fn value(&mut self) -> Parsed<Word> {
        if self.peek() == Some('(') {
            return self.fail("arrays are not supported");
        }
        self.word(true)
    }

    /// A redirection ahead: consumes it. Only `/dev/null` and other descriptors may be named.
    fn redirection(&mut self) -> Parsed<bool> {
        let (at, line) = (self.at, self.line);
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let Some(operator @ ('<' | '>')) = self.peek() else {
            (self.at, self.line) = (at, line);
            return Ok(false);
        };
        self.next();
        if operator == '<' && self.peek() == Some('<') {
            return self.fail("here-documents are not supported");
        }
        if operator == '>' && !self.take('>') {
            self.take('|');
        }
        let duplicate = self.take('&');
        self.skip_blanks();
        let target = self.plain_word();
        let number = !target.is_empty() && target.chars().all(|c| c.is_ascii_digit());
        if !(duplicate && (number || target == "-") || !duplicate && target == "/dev/null") {
            return self.fail("configuration files may redirect to /dev/null only");
        }
        self.take_word(&target);
        Ok(true)
    }

    /// One word. `value` is the right side of an assignment, where `~` also counts after a colon.
    fn word(&mut self, value: bool) -> Parsed<Word> {
        let mut word = Word::new();
        let mut home_possible = true;
        while let Some(c) = self.peek() {
            if ends_word(c) {
                break;
            }
            if c == '~' && home_possible {
                self.at += 1;
                match self.peek() {
                    Some(c) if c != '/' && !ends_word(c) && !(value && c == ':') => {
                        return self.fail("'~' with a user name is not supported");
                    }
                    _ => word.push(Piece { quoted: true, part: Part::Home }),
                }
                home_possible = false;
                continue;
            }
            home_possible = value && c == ':';
            self.piece(c, &mut word)?;
        }
        Ok(word)
    }

    /// The piece that starts with `c`, outside double quotes.
    fn piece(&mut self, c: char, word: &mut Word) -> Parsed<()> {
        match c {
            '\'' => {
                self.at += 1;
                let text = self.single_quoted()?;
                word.push(Piece { quoted: true, part: Part::Text(text) });
            }
            '"' => {
                self.at += 1;
                self.double_quoted(word)?;
            }
            '\\' => {
                self.at += 1;
                let text = self.next_raw().map_or_else(|| "\\".to_owned(), String::from);
                word.push(Piece { quoted: true, part: Part::Text(text) });
            }
            '$' if self.peek_after() == Some('\'') => return self.fail("$'...' is not supported"),
            '$' if self.peek_after() == Some('"') => return self.fail("$\"...\" is not supported"),
            '$' | '`' => self.dollar(false, word)?,
            _ => {
                self.advance(c);
                push_text(word, false, c);
            }
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Parsed<String> {
        let line = self.line;
        let mut text = String::new();
        loop {
            match self.next_raw() {
                None => return Err((line, "a single quote is not closed".into())),
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Parsed<()> {
        let line = self.line;
        // Even "" makes a word.
        word.push(Piece { quoted: true, part: Part::Text(String::new()) });
        loop {
            match self.peek() {
                None => return Err((line, "a double quote is not closed".into())),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('$' | '`') => self.dollar(true, word)?,
                Some('\\') => {
                    self.at += 1;
                    match self.text.get(self.at).copied() {
                        Some(c @ ('$' | '`' | '"' | '\\')) => {
                            self.at += 1;
                            push_text(word, true, c);
                        }
                        _ => push_text(word, true, '\\'),
                    }
                }
                Some(c) => {
                    self.advance(c);
                    push_text(word, true, c);
                }
            }
        }
    }

    /// `$...` or a backquote.
    fn dollar(&mut self, quoted: bool, word: &mut Word) -> Parsed<()> {
        let part = if self.take('`') {
            self.backquoted()?
        } else {
            self.next();
            match self.peek() {
                Some('{') => {
                    self.at += 1;
                    self.nested(|p| p.braced(quoted))?
                }
                Some('(') => {
                    self.at += 1;
                    if self.take('(') { self.nested(|p| p.arithmetic())? } else { self.nested(|p| p.output())? }
                }
                Some(c) if starts_name(c) => {
                    let name = self.name();
                    Part::Variable { name, change: Change::None }
                }
                Some(c) if c.is_ascii_digit() || matches!(c, '$' | '?' | '#' | '@' | '*' | '!' | '-') => {
                    self.at += 1;
                    Part::Variable { name: c.to_string(), change: Change::None }
                }
                _ => {
                    push_text(word, quoted, '$');
                    return Ok(());
                }
            }
        };
        word.push(Piece { quoted, part });
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| in_name(*c)) {
            name.push(c);
            self.at += 1;
        }
        name
    }

    /// After `${`.
    fn braced(&mut self, quoted: bool) -> Parsed<Part> {
        let length = self.peek() == Some('#') && self.peek_after().is_some_and(in_name);
        if length {
            self.at += 1;
        }
        let name = match self.peek() {
            Some(c) if starts_name(c) => self.name(),
            Some(c) if c.is_ascii_digit() => {
                let digits = self.name();
                if !digits.chars().all(|c| c.is_ascii_digit()) {
                    return self.fail(format!("'${{{digits}' is no variable"));
                }
                digits
            }
            Some(c @ ('$' | '?' | '#')) => {
                self.at += 1;
                c.to_string()
            }
            _ => return self.fail("this '${' names no variable"),
        };
        if self.take('}') {
            return Ok(Part::Variable { name, change: if length { Change::Length } else { Change::None } });
        }
        if length {
            return self.fail("'${#NAME' must end with '}'");
        }
        let colon = self.take(':');
        let change = match self.next() {
            Some(operator @ ('-' | '=' | '+' | '?')) => {
                Change::Default { operator, colon, word: self.braced_word(quoted)? }
            }
            Some(c @ ('#' | '%')) if !colon => {
                let longest = self.take(c);
                Change::Trim { suffix: c == '%', longest, pattern: self.braced_word(false)? }
            }
            _ => return self.fail(format!("this form of '${{{name}...}}' is not supported")),
        };
        Ok(Part::Variable { name, change })
    }

    /// The word of `${NAME-word}`, up to and with its brace.
    fn braced_word(&mut self, quoted: bool) -> Parsed<Word> {
        let mut word = Word::new();
        loop {
            match self.peek() {
                None => return self.fail("'${' is not closed"),
                Some('}') => {
                    self.at += 1;
                    return Ok(word);
                }
                Some('\'') if quoted => {
                    self.at += 1;
                    push_text(&mut word, true, '\'');
                }
                Some('\\') if quoted => {
                    self.at += 1;
                    match self.text.get(self.at).copied() {
                        Some(c @ ('$' | '`' | '"' | '\\' | '}')) => {
                            self.at += 1;
                            push_text(&mut word, true, c);
                        }
                        _ => push_text(&mut word, true, '\\'),
                    }
                }
                Some('"') if quoted => {
                    // Quotes inside the word of a quoted expansion are dropped; what they hold stays quoted.
                    self.at += 1;
                    self.double_quoted(&mut word)?;
                }
                Some('$' | '`') if quoted => self.dollar(true, &mut word)?,
                Some(c) if quoted => {
                    self.advance(c);
                    push_text(&mut word, true, c);
                }
                Some(c) => self.piece(c, &mut word)?,
            }
        }
    }

    /// After `$((`.
    fn arithmetic(&mut self) -> Parsed<Part> {
        let mut word = Word::new();
        let mut open = 0usize;
        loop {
            match self.peek() {
                None => return self.fail("'$((' is not closed"),
                Some(')') if open == 0 => {
                    if self.peek_after() != Some(')') {
                        return self.fail("'$((' is not closed by '))'");
                    }
                    self.next();
                    self.next();
                    return Ok(Part::Arithmetic(word));
                }
                Some('$' | '`') => self.dollar(true, &mut word)?,
                Some(c @ ('\'' | '\\')) => return self.fail(format!("{c} in arithmetic is not supported")),
                Some('"') => self.at += 1,
                Some(c) => {
                    match c {
                        '(' => open += 1,
                        ')' => open -= 1,
                        _ => {}
                    }
                    self.advance(c);
                    push_text(&mut word, true, c);
                }
            }
        }
    }

    /// After `$(`: the text of the command, which is not looked at.
    fn output(&mut self) -> Parsed<Part> {
        let start = self.at;
        let mut open = 0usize;
        loop {
            match self.next_raw() {
                None => return self.fail("'$(' is not closed"),
                Some(')') if open == 0 => {
                    return Ok(Part::Output(self.text[start..self.at - 1].iter().collect()));
                }
                Some('(') => open += 1,
                Some(')') => open -= 1,
                Some('\\') => {
                    self.next_raw();
                }
                Some('\'') => {
                    self.single_quoted()?;
                }
                Some('"') => self.double_quoted(&mut Word::new())?,
                Some(_) => {}
            }
        }
    }

    fn backquoted(&mut self) -> Parsed<Part> {
        let start = self.at;
        loop {
            match self.next_raw() {
                None => return self.fail("a backquote is not closed"),
                Some('`') => return Ok(Part::Output(self.text[start..self.at - 1].iter().collect())),
                Some('\\') => {
                    self.next_raw();
                }
                Some(_) => {}
            }
        }
    }
}

fn push_text(word: &mut Word, is_quoted: bool, c: char) {
    if let Some(Piece { quoted, part: Part::Text(text) }) = word.last_mut()
        && *quoted == is_quoted
    {
        text.push(c);
        return;
    }
    word.push(Piece { quoted: is_quoted, part: Part::Text(c.into()) });
}

/// The names that `list` assigns as `NAME=`, in the order of the text; functions count too.
pub(super) fn assigned_names(list: &List, names: &mut Vec<String>) {
    for (_, pipeline) in list.iter().flatten() {
        pipeline.commands.iter().for_each(|c| assigned_by(c, names));
    }
}

fn assigned_by(command: &Command, names: &mut Vec<String>) {
    match &command.body {
        Body::Simple { assignments, words } if words.is_empty() => {
            names.extend(assignments.iter().map(|(n, _)| n.clone()))
        }
        Body::Simple { .. } => {}
        Body::Declare { items, .. } => {
            names.extend(items.iter().filter(|(_, v)| v.is_some()).map(|(n, _)| n.clone()));
        }
        Body::If { branches, otherwise } => {
            for (condition, body) in branches {
                assigned_names(condition, names);
                assigned_names(body, names);
            }
            assigned_names(otherwise, names);
        }
        Body::Case { arms, .. } => arms.iter().for_each(|(_, body)| assigned_names(body, names)),
        Body::Group(list) => assigned_names(list, names),
        Body::Function { body, .. } => assigned_by(body, names),
    }
}
