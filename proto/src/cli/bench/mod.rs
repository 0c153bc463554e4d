//! `motif bench`: what a coordinator can take, measured through the real protocol.

mod curves;
mod dispatch;
mod ingest;
mod lists;
mod processes;

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::ProgressStyle;

use super::CliError;
use super::output::Output;
use crate::client::Client;

#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Points a second that the coordinator stores, durable when answered
    Ingest(ingest::Ingest),
    /// Claims a second with a long queue, the way from a submission to an idle worker, and what a fleet costs
    Dispatch(dispatch::Dispatch),
    /// How long a long curve takes to read
    Curves(curves::Curves),
    /// How long a page of runs takes, filtered and sorted, among those that are there
    Lists(lists::Lists),
}

impl Bench {
    pub(super) async fn run(self, client: &Client, out: &Output) -> Result<(), CliError> {
        match self.what {
            What::Ingest(ingest) => ingest.run(client, out).await,
            What::Dispatch(dispatch) => dispatch.run(client, out).await,
            What::Curves(curves) => curves.run(client, out).await,
            What::Lists(lists) => lists.run(client, out).await,
        }
    }
}

/// A bar that says how much of its work is over; nothing where nobody looks.
pub(super) fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {wide_bar} {percent} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What the work gives, unless Ctrl-C comes first.
async fn or_ctrl_c<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        result = work => result,
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))?;
            Err(CliError::Failed("interrupted; the bench's runs were cancelled".to_owned()))
        }
    }
}

/// A quantile of sorted times, in milliseconds.
fn quantile_ms(sorted: &[Duration], share: f64) -> f64 {
    let place = sorted.len().saturating_sub(1) as f64 * share;
    sorted
        .get(place.round() as usize)
        .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_times_measured() {
        let times: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&times, 0.5), 51.0);
        assert_eq!(quantile_ms(&times, 0.99), 100.0);
        assert_eq!(quantile_ms(&[], 0.5), 0.0);
    }
}
