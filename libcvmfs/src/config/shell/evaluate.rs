//! Commands to variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::expand::Expanded;
use super::parse::{AndOr, Body, Command, Joint, List, Pipeline, Word, assigned_names, parse};
use super::{
    Facts, Files, MAX_COMMANDS, MAX_FILE, MAX_MATCHING, Outcome, ShellError, Surroundings, Variable, pattern, test,
};

/// The state of one configuration file's evaluation.
pub(super) struct Evaluation<'a> {
    files: &'a dyn Files,
    /// The file that is being read, a sourced one included.
    file: PathBuf,
    line: u32,
    /// Where relative paths start.
    directory: PathBuf,
    variables: BTreeMap<String, Variable>,
    fixed: BTreeSet<String>,
    readonly: BTreeSet<String>,
    functions: BTreeMap<String, Rc<Command>>,
    arguments: Vec<String>,
    warnings: Vec<String>,
    status: i32,
    /// The command that would have decided the status.
    status_needs: Option<String>,
    commands: usize,
    random: u32,
    process: u32,
    pub(super) depth: usize,
}

/// Whether to go on after a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Return,
}

type Step = Result<Flow, ShellError>;

impl<'a> Evaluation<'a> {
    pub(super) fn new(file: &Path, start: Surroundings, files: &'a dyn Files) -> Evaluation<'a> {
        Evaluation {
            files,
            file: file.to_owned(),
            line: 1,
            directory: file.parent().map(Path::to_owned).unwrap_or_default(),
            variables: start.variables,
            fixed: start.fixed,
            readonly: BTreeSet::new(),
            functions: BTreeMap::new(),
            arguments: Vec::new(),
            warnings: Vec::new(),
            status: 0,
            status_needs: None,
            commands: 0,
            random: start.random,
            process: start.random,
            depth: 0,
        }
    }

    pub(super) fn run(mut self, bytes: &[u8]) -> Result<Outcome, ShellError> {
        let list = self.parsed(bytes)?;
        let mut parameters = Vec::new();
        assigned_names(&list, &mut parameters);
        self.list(&list, false)?;
        Ok(Outcome { variables: self.variables, parameters, warnings: self.warnings })
    }

    fn parsed(&mut self, bytes: &[u8]) -> Result<List, ShellError> {
        self.line = 1;
        if bytes.len() > MAX_FILE {
            return Err(self.error(format!("the file is larger than {MAX_FILE} bytes")));
        }
        if bytes.contains(&0) {
            return Err(self.error("the file holds a NUL byte, so it is no configuration file"));
        }
        // Comments in another encoding must not make a file unusable.
        parse(&String::from_utf8_lossy(bytes)).map_err(|(line, what)| ShellError {
            file: self.file.clone(),
            line,
            what,
        })
    }

    pub(super) fn error(&self, what: impl Into<String>) -> ShellError {
        ShellError { file: self.file.clone(), line: self.line, what: what.into() }
    }

    /// Notes that `command` is not run; returns its name with its place.
    pub(super) fn not_run(&mut self, command: &str) -> String {
        let place = format!("'{}' at {}:{}", shorten(command), self.file.display(), self.line);
        self.warnings.push(format!("{place} is not run: configuration is read without a shell"));
        place
    }

    pub(super) fn variable(&mut self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some(self.process.to_string()),
            "#" => Some(self.arguments.len().to_string()),
            "0" => Some("sh".into()),
            "@" | "*" => Some(self.arguments.join(" ")),
            "!" | "-" => None,
            digits if digits.starts_with(|c: char| c.is_ascii_digit()) => {
                digits.parse::<usize>().ok().and_then(|n| self.arguments.get(n.checked_sub(1)?).cloned())
            }
            "RANDOM" if !self.variables.contains_key("RANDOM") => {
                self.random = self.random.wrapping_mul(1_103_515_245).wrapping_add(12345);
                Some(((self.random >> 16) & 0x7fff).to_string())
            }
            _ => self.variables.get(name).map(|v| v.text.clone()),
        }
    }

    pub(super) fn needs(&self, name: &str) -> Option<String> {
        match name {
            "?" => self.status_needs.clone(),
            _ => self.variables.get(name).and_then(|v| v.needs.clone()),
        }
    }

    pub(super) fn assign(&mut self, name: &str, value: Expanded) -> Result<(), ShellError> {
        if self.readonly.contains(name) {
            return Err(self.error(format!("{name} was made read-only before")));
        }
        if !self.fixed.contains(name) {
            let assigned = Some((self.file.clone(), self.line));
            self.variables.insert(name.to_owned(), Variable { text: value.join(), assigned, needs: value.needs });
        }
        Ok(())
    }

    fn list(&mut self, list: &List, used: bool) -> Step {
        for (n, chain) in list.iter().enumerate() {
            if self.chain(chain, used && n + 1 == list.len())? == Flow::Return {
                return Ok(Flow::Return);
            }
        }
        Ok(Flow::Next)
    }

    /// `used`: whether somebody looks at the status.
    fn chain(&mut self, chain: &AndOr, used: bool) -> Step {
        for (n, (joint, pipeline)) in chain.iter().enumerate() {
            let wanted = match joint {
                Joint::And => self.status == 0,
                Joint::Or => self.status != 0,
            };
            if n > 0 && !wanted {
                continue;
            }
            let last = n + 1 == chain.len();
            if self.pipeline(pipeline, used || !last)? == Flow::Return {
                return Ok(Flow::Return);
            }
        }
        Ok(Flow::Next)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, used: bool) -> Step {
        let flow = match pipeline.commands.as_slice() {
            [command] => self.command(command, used || pipeline.not)?,
            commands => {
                self.line = commands.first().map_or(self.line, |c| c.line);
                self.external("a pipeline of commands", used || pipeline.not)?;
                Flow::Next
            }
        };
        if pipeline.not {
            self.status = i32::from(self.status == 0);
        }
        Ok(flow)
    }

    fn command(&mut self, command: &Command, used: bool) -> Step {
        self.line = command.line;
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return Err(self.error("the file runs too many commands"));
        }
        self.deeper(|e| e.body(&command.body, used))
    }

    fn body(&mut self, body: &Body, used: bool) -> Step {
        match body {
            Body::Simple { assignments, words } => return self.simple(assignments, words, used),
            Body::Declare { readonly, items } => {
                for (name, value) in items {
                    if let Some(word) = value {
                        let value = self.expand(word)?;
                        self.assign(name, value)?;
                    }
                    if *readonly && !self.fixed.contains(name) {
                        self.readonly.insert(name.clone());
                    }
                }
                self.succeed(true);
            }
            Body::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.list(condition, true)? == Flow::Return {
                        return Ok(Flow::Return);
                    }
                    if self.status == 0 {
                        return self.list(body, used);
                    }
                }
                self.succeed(true);
                return self.list(otherwise, used);
            }
            Body::Case { word, arms } => return self.case(word, arms, used),
            Body::Group(list) => return self.list(list, used),
            Body::Function { name, body } => {
                self.functions.insert(name.clone(), body.clone());
                self.succeed(true);
            }
        }
        Ok(Flow::Next)
    }

    fn succeed(&mut self, success: bool) {
        self.status = i32::from(!success);
        self.status_needs = None;
    }

    fn case(&mut self, word: &Word, arms: &[(Vec<Word>, List)], used: bool) -> Step {
        let word = self.expand(word)?;
        self.refuse_output(&word)?;
        let text: Vec<char> = word.join().chars().collect();
        for (patterns, body) in arms {
            for candidate in patterns {
                let candidate = self.expand(candidate)?;
                self.refuse_output(&candidate)?;
                let candidate = candidate.pattern();
                if candidate.len().saturating_mul(text.len()) > MAX_MATCHING {
                    return Err(self.error("a pattern is too costly for so long a value"));
                }
                if pattern::matches(&candidate, &text) {
                    self.succeed(true);
                    return self.list(body, used);
                }
            }
        }
        self.succeed(true);
        Ok(Flow::Next)
    }

    fn refuse_output(&self, word: &Expanded) -> Result<(), ShellError> {
        match &word.needs {
            None => Ok(()),
            Some(command) => Err(self.error(format!(
                "this depends on the output of {command}, and commands in configuration files are not run"
            ))),
        }
    }

    fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], used: bool) -> Step {
        let mut fields = Vec::new();
        let mut patterns = false;
        for word in words {
            let word = self.expand(word)?;
            if !assignments.is_empty() || word.needs.is_some() && fields.first().is_none_or(|c: &String| c != "echo") {
                self.refuse_output(&word)?;
            }
            let (more, pattern) = word.fields();
            patterns |= pattern && !fields.is_empty();
            fields.extend(more);
        }
        let Some(command) = fields.first().cloned() else {
            let mut needs = None;
            for (name, word) in assignments {
                let value = self.expand(word)?;
                needs = value.needs.clone().or(needs);
                self.assign(name, value)?;
            }
            self.succeed(true);
            self.status_needs = needs;
            return Ok(Flow::Next);
        };
        let operands = &fields[1..];
        let reads_paths = matches!(command.as_str(), "[" | "test" | "." | "source");
        if patterns && reads_paths {
            return Err(self.error("file name patterns are not supported; quote '*' and '?'"));
        }
        if matches!(command.as_str(), ":" | "." | "source") {
            for (name, word) in assignments {
                let value = self.expand(word)?;
                self.assign(name, value)?;
            }
        }
        self.invoke(&command, operands, used)
    }

    fn invoke(&mut self, command: &str, operands: &[String], used: bool) -> Step {
        if let Some(function) = self.functions.get(command).cloned() {
            let arguments = std::mem::replace(&mut self.arguments, operands.to_vec());
            self.command(&function, used)?;
            self.arguments = arguments;
            return Ok(Flow::Next);
        }
        match command {
            ":" | "true" | "echo" | "printf" | "set" => self.succeed(true),
            "false" => self.succeed(false),
            "[" => match operands.split_last() {
                Some((last, conditions)) if last == "]" => self.test(conditions)?,
                _ => return Err(self.error("'[' without ']'")),
            },
            "test" => self.test(operands)?,
            "unset" => {
                for name in operands.iter().filter(|n| !n.starts_with('-') && !self.fixed.contains(*n)) {
                    self.variables.remove(name);
                }
                self.succeed(true);
            }
            "." | "source" => match operands {
                [path, ..] => self.source(path)?,
                [] => return Err(self.error("'.' needs a file")),
            },
            "return" => {
                if let Some(status) = operands.first() {
                    self.status = status.parse().map_err(|_| self.error(format!("'{status}' is no status")))?;
                    self.status_needs = None;
                }
                return Ok(Flow::Return);
            }
            "exit" | "eval" | "exec" | "cd" | "shift" | "trap" | "alias" | "declare" | "typeset" | "let" => {
                return Err(self.error(format!("'{command}' is not supported in configuration files")));
            }
            _ => self.external(command, used)?,
        }
        Ok(Flow::Next)
    }

    fn test(&mut self, conditions: &[String]) -> Result<(), ShellError> {
        let (files, directory) = (self.files, &self.directory);
        let look = |path: &str| -> Option<Facts> { files.facts(&directory.join(path)).filter(|_| !path.is_empty()) };
        let status = test::status(conditions, &look).map_err(|what| self.error(what))?;
        self.succeed(status == 0);
        Ok(())
    }

    /// A command that is not ours. One that does not exist fails as in sh; what another would do is unknown.
    fn external(&mut self, command: &str, used: bool) -> Result<(), ShellError> {
        let missing = command.starts_with('/') && self.files.facts(Path::new(command)).is_none();
        if used && !missing {
            return Err(self.error(format!(
                "whether {} succeeds decides what follows, and commands in configuration files are not run",
                shorten(command)
            )));
        }
        let place = self.not_run(command);
        self.status = 127;
        self.status_needs = (!missing).then_some(place);
        Ok(())
    }

    fn source(&mut self, path: &str) -> Result<(), ShellError> {
        let path = self.directory.join(path);
        let content = match self.files.read(&path) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(self.error(format!("cannot read {}: no such file", path.display()))),
            Err(cause) => return Err(self.error(format!("cannot read {}: {cause}", path.display()))),
        };
        let (file, line) = (std::mem::replace(&mut self.file, path), self.line);
        let list = self.parsed(&content)?;
        self.succeed(true);
        // `return` ends the sourced file only.
        self.deeper(|e| e.list(&list, false))?;
        (self.file, self.line) = (file, line);
        Ok(())
    }
}

fn shorten(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    if line.len() == command.len() && line.chars().count() <= 60 {
        return line.to_owned();
    }
    line.chars().take(60).chain("...".chars()).collect()
}
