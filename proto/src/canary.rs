//! The canary: a short training of known result, by which a worker shows that it computes rightly.
//!
//! A worker runs it before it registers and whenever the coordinator asks, and reports what it gave. The coordinator
//! compares. What is expected was computed by the reference engine on a processor; the fused one agrees to some
//! millionths. A sound device stays far below the tolerance; one with wrong libraries, broken memory or a confused
//! driver does not.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::metrics::Measured;
use crate::spec::ExperimentSpec;

/// Which canary this is: it changes with what is expected.
pub const VERSION: u32 = 1;
/// Largest relative difference from what is expected.
pub const TOLERANCE: f64 = 1e-3;

/// `loss/total` of each batch.
const LOSSES: [f64; 4] = [0.381_966_2, 0.393_423_5, 0.448_641_5, 0.404_727_6];
/// `grad_norm` of each batch.
const GRAD_NORMS: [f64; 4] = [0.130_220_5, 0.323_323_4, 0.228_405_7, 0.493_068_8];

/// What a canary gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CanaryReport {
    /// Which canary it was.
    pub version: u32,
    /// `loss/total` of each batch.
    pub losses: Vec<Measured>,
    /// `grad_norm` of each batch.
    pub grad_norms: Vec<Measured>,
    /// How long it took.
    pub seconds: f64,
    /// Why it did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl CanaryReport {
    /// One that gave what is expected, for workers that only pretend.
    #[must_use]
    pub fn expected() -> Self {
        Self {
            version: VERSION,
            losses: LOSSES.map(Measured).to_vec(),
            grad_norms: GRAD_NORMS.map(Measured).to_vec(),
            seconds: 0.0,
            error: None,
        }
    }

    /// Whether it gave what is expected.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        if let Some(error) = &self.error {
            return Err(format!("its canary failed: {error}"));
        }
        if self.version != VERSION {
            return Err(format!(
                "it made canary {}, and canary {VERSION} is asked for: coordinator and worker are of different versions",
                self.version
            ));
        }
        compare("loss", &self.losses, &LOSSES)?;
        compare("gradient norm", &self.grad_norms, &GRAD_NORMS)
    }
}

fn compare(what: &str, given: &[Measured], expected: &[f64]) -> Result<(), String> {
    if given.len() != expected.len() {
        return Err(format!(
            "its canary gave {} batches instead of {}",
            given.len(),
            expected.len()
        ));
    }
    for (batch, (Measured(given), expected)) in given.iter().zip(expected).enumerate() {
        let error = (given - expected).abs() / expected.abs();
        if error.is_nan() || error > TOLERANCE {
            return Err(format!(
                "its canary gave the {what} {given} in batch {batch} where {expected} is right"
            ));
        }
    }
    Ok(())
}

/// What is trained.
#[must_use]
pub fn spec() -> ExperimentSpec {
    let document = json!({
        "name": "canary",
        "seed": 4711,
        "network": { "hidden": 16 },
        "training": { "batches": LOSSES.len(), "batch_size": 4, "tasks": ["DlyHalfReach", "DlyFullCircleClk"] },
    });
    ExperimentSpec::resolve(&document, None)
        .unwrap_or_else(|problems| unreachable!("the canary is a valid experiment: {problems:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_passes_and_what_differs_is_named() {
        assert_eq!(CanaryReport::expected().check(), Ok(()));
        let mut near = CanaryReport::expected();
        near.losses[1].0 *= 1.0 + TOLERANCE / 2.0;
        assert_eq!(near.check(), Ok(()));
        let mut wrong = CanaryReport::expected();
        wrong.grad_norms[2].0 *= 1.0 + TOLERANCE * 2.0;
        let reason = wrong.check().unwrap_err();
        assert!(
            reason.contains("gradient norm") && reason.contains("batch 2"),
            "{reason}"
        );
        wrong.grad_norms[2].0 = f64::NAN;
        assert!(wrong.check().is_err());
    }

    #[test]
    fn an_error_another_version_and_a_short_one_do_not_pass() {
        for change in [
            |report: &mut CanaryReport| report.error = Some("no device".to_owned()),
            |report: &mut CanaryReport| report.version += 1,
            |report: &mut CanaryReport| report.losses.truncate(1),
        ] {
            let mut report = CanaryReport::expected();
            change(&mut report);
            assert!(report.check().is_err(), "{report:?}");
        }
    }

    #[test]
    fn it_is_a_valid_experiment() {
        assert_eq!(spec().training.expect("it trains").batches, LOSSES.len() as u64);
    }
}
