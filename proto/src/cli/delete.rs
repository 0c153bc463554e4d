//! `motif delete`: runs and studies, with everything that they left.

use std::str::FromStr;

use clap::Args;
use serde_json::json;

use super::CliError;
use super::confirm::Confirm;
use super::output::{Output, short_id, short_uuid};
use super::run_ref::RunRef;
use super::study::StudyRef;
use crate::client::Client;
use crate::id::{RunId, StudyId};
use crate::run::MAX_DELETED;

/// What stands before a word that names a study.
const STUDY: &str = "study:";

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Each a run (`latest`, an id, or at least 6 digits of one) or a study (`study:` and the same). The runs go all or
    /// none, then each study
    #[arg(required = true, value_name = "RUN|study:STUDY")]
    what: Vec<Target>,

    /// Cancel what has not ended
    #[arg(long)]
    cancel: bool,

    #[command(flatten)]
    confirm: Confirm,
}

/// A word that names a run or a study.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Run(RunRef),
    Study(StudyRef),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(STUDY) {
            Some(study) => study.parse().map(Self::Study),
            None => text.parse().map(Self::Run),
        }
    }
}

/// What is to go.
#[derive(Debug, Default)]
struct Doomed {
    runs: Vec<RunId>,
    /// Each with its name and how many runs it has.
    studies: Vec<(StudyId, String, u64)>,
}

impl Delete {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        let doomed = find(&self.what, client).await?;
        if doomed.runs.len() > MAX_DELETED {
            return Err(CliError::Usage(format!("at most {MAX_DELETED} runs go at once")));
        }
        let question = format!(
            "Delete {} with all curves, files and logs? They cannot be brought back.",
            doomed.in_words()
        );
        if !self.confirm.agreed(&question)? {
            return Err(CliError::Failed("nothing was deleted".to_owned()));
        }
        if self.cancel {
            doomed.cancel(client).await?;
        }
        if !doomed.runs.is_empty() {
            client.delete_runs(&doomed.runs).await?;
        }
        for (study, _, _) in &doomed.studies {
            client.delete_study(*study).await?;
        }
        if out.json {
            let studies: Vec<StudyId> = doomed.studies.iter().map(|(study, _, _)| *study).collect();
            return out.json(&json!({ "runs": doomed.runs, "studies": studies }));
        }
        out.text(&format!("deleted {}", doomed.in_words()))
    }
}

async fn find(what: &[Target], client: &Client) -> Result<Doomed, CliError> {
    let mut doomed = Doomed::default();
    for target in what {
        match target {
            Target::Run(run) => {
                let run = run.resolve(client).await?;
                if !doomed.runs.contains(&run) {
                    doomed.runs.push(run);
                }
            }
            Target::Study(study) => {
                let study = client.study(study.resolve(client).await?).await?.summary;
                if doomed.studies.iter().all(|(id, _, _)| *id != study.id) {
                    doomed.studies.push((study.id, study.name, study.counts.total()));
                }
            }
        }
    }
    Ok(doomed)
}

impl Doomed {
    async fn cancel(&self, client: &Client) -> Result<(), CliError> {
        for &run in &self.runs {
            if !client.run(run).await?.summary.state.is_final() {
                client.cancel(run).await?;
            }
        }
        for (study, _, _) in &self.studies {
            client.cancel_study(*study).await?;
        }
        Ok(())
    }

    fn in_words(&self) -> String {
        let runs = self.runs.iter().map(|&run| format!("run {}", short_id(run)));
        let studies = self.studies.iter().map(|(id, name, runs)| {
            let plural = if *runs == 1 { "" } else { "s" };
            format!("study `{name}` ({}, {runs} run{plural})", short_uuid(id.0))
        });
        runs.chain(studies).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_a_run_or_after_its_prefix_a_study() {
        let target = |text: &str| text.parse::<Target>();
        assert_eq!(target("latest"), Ok(Target::Run(RunRef::Latest)));
        assert_eq!(target("study:latest"), Ok(Target::Study(StudyRef::Latest)));
        assert!(target("study:").is_err());
        assert!(target("studies").is_err());
    }

    #[test]
    fn what_goes_is_said_by_name_and_number() {
        let run = "01900000-0000-7000-8000-00000000b001".parse().unwrap();
        let study = "01900000-0000-7000-8000-00000000b002".parse().unwrap();
        let doomed = Doomed {
            runs: vec![run],
            studies: vec![(study, "paper".to_owned(), 45)],
        };
        let said = doomed.in_words();
        assert!(
            said.starts_with("run ") && said.contains("study `paper` ("),
            "{said}"
        );
        assert!(said.ends_with(", 45 runs)"), "{said}");
    }
}
