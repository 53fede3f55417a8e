//! How a wrong call of the program is told: in the words that existing tools use.

use clap::{
    ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// What to print, and where, for an error of the argument parser.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Help or a version was asked for: standard output, success.
    Asked(String),
    /// The call was wrong: standard error, failure.
    Wrong(String),
}

/// Tells help from faults, and words the faults. `command` is the whole program.
pub(super) fn explain(error: &clap::Error, command: &mut Command) -> Outcome {
    command.build();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Outcome::Asked(error.render().to_string());
        }
        ErrorKind::MissingSubcommand => {
            let Some(ContextValue::String(path)) = error.get(ContextKind::InvalidSubcommand) else {
                return Outcome::Asked(command.render_help().to_string());
            };
            return Outcome::Asked(at_path(command, path.split(' ').skip(1)).render_help().to_string());
        }
        _ => {}
    }
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return Outcome::Wrong(format!("Error: {}", said(error)));
    };
    let usage = usage.to_string();
    let path = usage.trim_start_matches("Usage:").trim_start().split(' ').skip(1);
    let command = at_path(command, path.take_while(|word| !word.starts_with(['[', '<', '-'])));
    let message = reworded(error, command).unwrap_or_else(|| said(error));
    Outcome::Wrong(format!("Error: {message}\n\n{}\n", command.render_usage()))
}

/// The usage line of the subcommand that was called.
pub(super) fn usage_of(command: &mut Command, matches: &ArgMatches) -> String {
    command.build();
    let mut path = Vec::new();
    let mut matches = matches;
    while let Some((name, below)) = matches.subcommand() {
        path.push(name);
        matches = below;
    }
    at_path(command, path.into_iter()).render_usage().to_string()
}

fn at_path(command: &mut Command, mut path: impl Iterator<Item = impl AsRef<str>>) -> &mut Command {
    match path.next() {
        Some(name) if command.find_subcommand(name.as_ref()).is_some() => {
            let below = command.find_subcommand_mut(name.as_ref());
            at_path(below.expect("invariant: it was found just now"), path)
        }
        _ => command,
    }
}

/// What the parser says, without its own beginning, usage and advice.
fn said(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nUsage:").next().unwrap_or(text);
    text.split("\n\nFor more information").next().unwrap_or(text).trim_end().to_owned()
}

/// Wrong numbers of arguments.
fn reworded(error: &clap::Error, command: &Command) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidArg)?) {
        (ErrorKind::MissingRequiredArgument, ContextValue::Strings(missing)) => {
            let name = missing.first()?.strip_prefix('<')?.split(['>', '=']).next()?.to_lowercase();
            Some(if name == "name" { "missing name".to_owned() } else { format!("{name} ID missing") })
        }
        (ErrorKind::UnknownArgument, ContextValue::String(extra)) if !extra.starts_with('-') => {
            let wanted = match command.get_positionals().filter(|argument| !argument.is_last_set()).count() {
                0 => "no arguments".to_owned(),
                1 => "exactly 1 argument".to_owned(),
                count => format!("exactly {count} arguments"),
            };
            Some(format!("{} command takes {wanted}", command.get_name()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::ctl::Args;

    fn told(line: &str) -> Outcome {
        let words = std::iter::once("swarmctl").chain(line.split(' ').filter(|word| !word.is_empty()));
        let error = Args::command().try_get_matches_from(words).unwrap_err();
        explain(&error, &mut Args::command())
    }

    #[test]
    fn the_arguments_of_every_command_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_command_without_its_subcommand_shows_help() {
        for (line, expected) in [
            ("", "Usage: swarmctl [OPTIONS] <COMMAND>"),
            ("service", "Usage: swarmctl service [OPTIONS] <COMMAND>"),
            ("--socket /x service", "Usage: swarmctl service [OPTIONS] <COMMAND>"),
            ("task ls --help", "Usage: swarmctl task ls [OPTIONS]"),
            ("--version", "swarmctl 0.1.0"),
        ] {
            let Outcome::Asked(text) = told(line) else { panic!("{line} is a fault") };
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn wrong_calls_are_told_in_the_words_of_existing_tools() {
        for (line, expected) in [
            ("service inspect", "service ID missing\n\nUsage: swarmctl service inspect [OPTIONS] <SERVICE>"),
            ("task rm", "task ID missing\n\nUsage: swarmctl task remove [OPTIONS] <TASK>"),
            (
                "service inspect a b",
                "inspect command takes exactly 1 argument\n\nUsage: swarmctl service inspect [OPTIONS] <SERVICE>",
            ),
            ("node ls a", "ls command takes no arguments\n\nUsage: swarmctl node ls [OPTIONS]"),
            (
                "service create --name a b",
                "create command takes no arguments\n\nUsage: swarmctl service create [OPTIONS] --name <NAME> [-- \
                 <COMMAND>...]",
            ),
            ("node ls --bad", "unexpected argument '--bad' found\n\nUsage: swarmctl node ls [OPTIONS]"),
            ("secret create", "missing name\n\nUsage: swarmctl secret create [OPTIONS] <NAME>"),
            ("service scale web", "invalid value 'web' for '<SERVICE=N>...': expected SERVICE=N"),
        ] {
            let Outcome::Wrong(text) = told(line) else { panic!("{line} is no fault") };
            assert_eq!(text.trim_end(), format!("Error: {expected}"), "{line}");
        }
        let Outcome::Wrong(text) = told("servce") else { panic!("a fault") };
        assert!(text.starts_with("Error: unrecognized subcommand 'servce'"), "{text}");
    }
}
