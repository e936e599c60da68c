//! Turns a configuration file into the arguments that it stands for: `beam = 5` into `--beam=5`.
//!
//! What may be said in a file is asked of clap's own definition of the command, and clap reads the
//! file's arguments together with the command line's. So whatever a command can be told, a file can
//! tell it, by the same name and under the same checks.
//!
//! What the command line says wins: the file's value for the same option is left out, and so is a
//! file's option that contradicts one of the command line's.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Lets a command be told by a file.
#[derive(Debug, Args)]
pub struct ConfigFileArguments {
    /// A TOML file that says what the command line does not; pipelines/nightly.toml shows all
    #[arg(id = ID, long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Not the option's name: `train --config` names a recipe, which is something else.
const ID: &str = "config_file";

/// What was said, on the command line and in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// For clap, as if all had been said on the command line.
    pub arguments: Vec<OsString>,
    pub file: Option<PathBuf>,
}

/// Adds to the command line `given` what the file says that it names with `--config`.
pub fn read(mut command: Command, given: Vec<OsString>) -> Result<Said, ConfigFileError> {
    command.build();
    let only_given = |arguments| Said {
        arguments,
        file: None,
    };
    // What is wrong on the command line is told when all of it is read.
    let Ok(matches) = command
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(&given)
    else {
        return Ok(only_given(given));
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(only_given(given));
    };
    let (Ok(Some(path)), Some(subcommand)) = (
        matches.try_get_one::<PathBuf>(ID),
        command.find_subcommand(name),
    ) else {
        return Ok(only_given(given));
    };
    let text = std::fs::read_to_string(path).map_err(|source| ConfigFileError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let file = File {
        path,
        text: &text,
        command: &command,
        subcommand,
    };
    let (options, positional) = file.arguments(matches)?;
    Ok(Said {
        arguments: joined(given, options, positional),
        file: Some(path.clone()),
    })
}

/// The file's options before the `--` that ends the command line's, its directories behind it.
fn joined(
    mut given: Vec<OsString>,
    options: Vec<OsString>,
    positional: Vec<OsString>,
) -> Vec<OsString> {
    let end = given.iter().position(|argument| argument == "--");
    let behind = given.split_off(end.unwrap_or(given.len()));
    given.extend(options);
    match (behind.is_empty(), positional.is_empty()) {
        (true, false) => given.push("--".into()),
        _ => given.extend(behind),
    }
    given.extend(positional);
    given
}

/// A file whose text is being turned into arguments of `subcommand`.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    command: &'a Command,
    subcommand: &'a Command,
}

impl File<'_> {
    /// Options, and positional arguments, that the command line leaves to the file.
    fn arguments(
        &self,
        matches: &ArgMatches,
    ) -> Result<(Vec<OsString>, Vec<OsString>), ConfigFileError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let message = error.message().replace('\n', " ");
            self.fault(error.span().unwrap_or_default(), Fault::Toml(message))
        })?;
        let said = |arg: &Arg| matches.value_source(arg.get_id().as_str());
        let given: Vec<&Arg> = self
            .sayable()
            .filter(|arg| said(arg).is_some_and(|source| source != ValueSource::DefaultValue))
            .collect();
        let (mut options, mut positional) = (Vec::new(), Vec::new());
        for (key, value) in table.get_ref() {
            let fault = |fault| self.fault(key.span(), fault);
            let arg = self.find(key.get_ref(), value.get_ref()).map_err(fault)?;
            let arguments = arguments_of(arg, key.get_ref(), value.get_ref()).map_err(fault)?;
            self.check(arg, &arguments).map_err(fault)?;
            if given.iter().any(|given| self.excludes(given, arg)) {
                continue;
            }
            match arg.is_positional() {
                true => positional.extend(arguments),
                false => options.extend(arguments),
            }
        }
        Ok((options, positional))
    }

    /// What a file may say: all but what would end the program, or name another file.
    fn sayable(&self) -> impl Iterator<Item = &Arg> {
        self.subcommand.get_arguments().filter(|arg| {
            arg.get_id() != ID
                && matches!(
                    arg.get_action(),
                    ArgAction::Set | ArgAction::Append | ArgAction::SetTrue | ArgAction::Count
                )
        })
    }

    fn find(&self, key: &str, value: &DeValue) -> Result<&Arg, Fault> {
        let found = self.sayable().find(|arg| key_of(arg) == key);
        found.ok_or_else(|| match value {
            DeValue::Table(_) => Fault::Table(key.to_owned()),
            _ if key == "config" => Fault::AnotherFile,
            _ => Fault::UnknownKey {
                key: key.to_owned(),
                near: self.near(key),
                command: self.subcommand.get_name().to_owned(),
            },
        })
    }

    /// What clap would suggest, had `key` been said on the command line.
    fn near(&self, key: &str) -> Option<String> {
        let dashed = key.replace('_', "-").to_lowercase();
        if self.sayable().any(|arg| key_of(arg) == dashed) {
            return Some(dashed);
        }
        let error = self.try_alone(&[format!("--{dashed}=").into()]).err()?;
        match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(near)) => {
                let near = near.trim_start_matches('-');
                let sayable = self.sayable().any(|arg| key_of(arg) == near);
                sayable.then(|| near.to_owned())
            }
            _ => None,
        }
    }

    /// Has clap look at the values of one key, so that what is wrong is told of its line.
    fn check(&self, arg: &Arg, arguments: &[OsString]) -> Result<(), Fault> {
        let positional = arg.is_positional().then(|| OsString::from("--"));
        let arguments: Vec<_> = positional.iter().chain(arguments).cloned().collect();
        match self.try_alone(&arguments) {
            // What goes with what is seen when everything is read.
            Err(error) => match error.kind() {
                ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict => Ok(()),
                _ => Err(Fault::Value {
                    key: key_of(arg).to_owned(),
                    reason: first_paragraph(&error),
                }),
            },
            Ok(_) => Ok(()),
        }
    }

    fn try_alone(&self, arguments: &[OsString]) -> clap::error::Result<ArgMatches> {
        let before = [self.command.get_name(), self.subcommand.get_name()].map(OsStr::new);
        let arguments = before.into_iter().chain(arguments.iter().map(|a| &**a));
        self.command.clone().try_get_matches_from(arguments)
    }

    /// Whether `given` on the command line leaves no room for the file's `arg`.
    fn excludes(&self, given: &Arg, arg: &Arg) -> bool {
        let contradicts = |one: &Arg, other: &Arg| {
            let against = self.subcommand.get_arg_conflicts_with(one);
            against.iter().any(|arg| arg.get_id() == other.get_id())
        };
        given.get_id() == arg.get_id() || contradicts(given, arg) || contradicts(arg, given)
    }

    fn fault(&self, place: Range<usize>, fault: Fault) -> ConfigFileError {
        let before = self.text.get(..place.start).unwrap_or_default();
        ConfigFileError::Wrong {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            fault,
        }
    }
}

/// The name of an option without its dashes, or of what stands without an option.
fn key_of(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// The arguments that `value` stands for, if it is of the type that `arg` takes.
fn arguments_of(arg: &Arg, key: &str, value: &DeValue) -> Result<Vec<OsString>, Fault> {
    let wrong = |expected: &str| Fault::Type {
        key: key.to_owned(),
        expected: expected.to_owned(),
        found: type_name(value),
    };
    let one = |value: &DeValue| match (Takes::by(arg).text(value), arg.is_positional()) {
        (Some(text), true) => Some(OsString::from(text)),
        (Some(text), false) => Some(OsString::from(format!("--{key}={text}"))),
        (None, _) => None,
    };
    let flag = || OsString::from(format!("--{key}"));
    let takes_no_value = arg
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    match (arg.get_action(), value) {
        (ArgAction::Count, DeValue::Integer(count)) => {
            match u8::from_str_radix(count.as_str(), count.radix()) {
                Ok(count) => Ok(vec![flag(); count.into()]),
                Err(_) => Err(wrong("a count up to 255")),
            }
        }
        (ArgAction::Count, _) => Err(wrong("a count")),
        (_, DeValue::Boolean(said)) if takes_no_value => Ok(said.then(flag).into_iter().collect()),
        (ArgAction::SetTrue, _) => Err(wrong("true or false")),
        (ArgAction::Append, DeValue::Array(values)) => values
            .iter()
            .map(|value| one(value.get_ref()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong(&format!("a list, each of it {}", Takes::by(arg)))),
        (ArgAction::Append, _) => Err(wrong(&format!("a list, each of it {}", Takes::by(arg)))),
        (_, value) => match one(value) {
            Some(argument) => Ok(vec![argument]),
            None => Err(wrong(&Takes::by(arg).to_string())),
        },
    }
}

/// The TOML types that an option takes, by the type that its values have in the program.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Text,
    Integer,
    Number,
    /// A type of the program's own, which reads itself: whatever can be written as one word.
    Word,
}

impl Takes {
    fn by(arg: &Arg) -> Self {
        let of = arg.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|one| of == *one);
        if is(&[
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
        ]) {
            Takes::Integer
        } else if is(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
            Takes::Number
        } else if is(&[
            TypeId::of::<String>(),
            TypeId::of::<OsString>(),
            TypeId::of::<PathBuf>(),
        ]) {
            Takes::Text
        } else {
            Takes::Word
        }
    }

    /// `value` as it would be written on the command line, if it may be.
    fn text(self, value: &DeValue) -> Option<String> {
        match (self, value) {
            (Takes::Text | Takes::Word, DeValue::String(text)) => Some(text.to_string()),
            (Takes::Integer | Takes::Number | Takes::Word, DeValue::Integer(integer)) => {
                let integer = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
                Some(integer.to_string())
            }
            (Takes::Number | Takes::Word, DeValue::Float(float)) => Some(float.as_str().to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Takes::Text => "a string",
            Takes::Integer => "an integer",
            Takes::Number => "a number",
            Takes::Word => "a string or a number",
        })
    }
}

fn type_name(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(integer) => format!("the integer {integer}"),
        DeValue::Float(float) => format!("the number {float}"),
        DeValue::Boolean(said) => said.to_string(),
        DeValue::Datetime(moment) => format!("the time {moment}"),
        DeValue::Array(values) => match values.iter().map(Spanned::get_ref).next() {
            Some(first) => format!("a list that begins with {}", type_name(first)),
            None => "an empty list".to_owned(),
        },
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// clap's sentence on what is wrong, and the values that would be right, without its usage.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// The file cannot be taken as arguments; nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {fault}", path.display())]
    Wrong {
        path: PathBuf,
        line: usize,
        fault: Fault,
    },
}

/// What is wrong in a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("not valid TOML: {0}")]
    Toml(String),
    #[error(
        "there is no option {key:?}{}; `showtell {command} --help` lists them",
        near.as_ref().map(|near| format!(", did you mean {near:?}?")).unwrap_or_default()
    )]
    UnknownKey {
        key: String,
        near: Option<String>,
        command: String,
    },
    #[error("there is no option {0:?}, and options are not grouped in tables: leave [{0}] out")]
    Table(String),
    #[error("a configuration file cannot name another one")]
    AnotherFile,
    #[error("{key} takes {expected}, not {found}")]
    Type {
        key: String,
        expected: String,
        found: String,
    },
    #[error("{key}: {reason}")]
    Value { key: String, reason: String },
}

#[cfg(test)]
mod tests;
