//! Measures every figure that the project claims; `cargo xtask bench` builds and runs it.
//!
//! A figure has an id, a unit, and a function that gives samples of it. Those of the daemon are taken from outside, as a
//! user meets them: the release build of `swarmd` on a state directory of its own, called through its control socket.
//! This program measures; it judges nothing and never fails because something was slow.
mod client;
mod daemon;
mod figure;
mod figures;
mod lab;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::figure::Figure;
use crate::lab::Lab;

/// Measures the figures that the project claims.
#[derive(Debug, Parser)]
#[command(name = "swarm-figures", max_term_width = 100)]
struct Flags {
    /// The figures to measure, by id; all but those that are only for information if none is given.
    figures: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print what figures there are, and measure nothing.
    #[arg(long)]
    list: bool,
    /// How often each is measured, in place of its own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// The daemon to measure. Default: the one beside this program.
    #[arg(long, value_name = "PATH")]
    swarmd: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<()> {
    let chosen = choose(&flags.figures)?;
    if flags.list {
        print!("{}", report::list(&chosen));
        return Ok(());
    }
    let mut lab = Lab::new(flags.swarmd.clone())?;
    if !flags.json {
        println!("{}", report::header());
    }
    for figure in chosen {
        let repeats = flags.repeat.unwrap_or(figure.repeats);
        let samples = (figure.run)(&mut lab, repeats).with_context(|| format!("measuring {}", figure.id))?;
        let summary = figure::Summary::of(samples).with_context(|| format!("{} gave no sample", figure.id))?;
        println!("{}", if flags.json { report::json(figure, &summary) } else { report::row(figure, &summary) });
    }
    Ok(())
}

/// The figures of these ids, in the order of the list; without ids all that are claimed.
fn choose(ids: &[String]) -> Result<Vec<&'static Figure>> {
    for id in ids {
        if !figures::all().any(|figure| figure.id == id) {
            bail!("there is no figure {id}; `--list` tells what there is");
        }
    }
    let wanted = |figure: &&Figure| match ids {
        [] => !figure.for_information,
        ids => ids.iter().any(|id| id == figure.id),
    };
    Ok(figures::all().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_say_whose_figure_it_is() {
        let ids: BTreeSet<_> = figures::all().map(|figure| figure.id).collect();
        assert_eq!(ids.len(), figures::all().count());
        assert!(ids.iter().all(|id| id.split_once('.').is_some_and(|(of, what)| !of.is_empty() && !what.is_empty())));
    }

    #[test]
    fn an_unknown_id_is_refused_and_a_known_one_chosen_alone() {
        assert!(choose(&["start.never".to_owned()]).is_err());
        let chosen = choose(&["idle.rss".to_owned()]).expect("it is known");
        assert_eq!(chosen.iter().map(|figure| figure.id).collect::<Vec<_>>(), ["idle.rss"]);
    }

    #[test]
    fn without_ids_everything_is_measured_that_is_claimed() {
        let chosen: Vec<_> = choose(&[]).expect("no id is wrong").iter().map(|figure| figure.id).collect();
        assert!(chosen.contains(&"start.first_call"));
        assert!(!chosen.contains(&"build.cold"));
    }
}
