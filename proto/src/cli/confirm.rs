//! Asking before something is done that cannot be undone.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;

use super::CliError;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Confirm {
    /// Do not ask, as is done on a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Whether it is to be done. Scripts are not asked: whoever wrote one has decided.
    pub(super) fn agreed(self, question: &str) -> Result<bool, CliError> {
        if self.yes || !io::stdin().is_terminal() {
            return Ok(true);
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| CliError::Failed(format!("the answer cannot be read: {error}")))?;
        Ok(is_yes(&answer))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(["y\n", "Y", " yes\n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "yess", "no"].into_iter().any(is_yes));
    }
}
