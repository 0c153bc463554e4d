//! The canary on this machine: both engines give what is expected.

use std::sync::Arc;

use motif_motor::device::Device;
use motif_motor::engine::Engine as EpisodeEngine;
use motif_proto::canary::CanaryReport;
use motif_worker::canary;
use motif_worker::engine::Motor;

/// Far below the tolerance of the canary, which other devices have to meet.
const NEAR: f64 = 1e-5;

#[tokio::test]
async fn both_engines_give_what_is_expected() {
    let expected = CanaryReport::expected();
    for engine in [EpisodeEngine::Fused, EpisodeEngine::Reference] {
        let motor = Motor::new(Device::Cpu)
            .expect("a processor")
            .with_episodes_by(engine);
        let report = canary::report(Arc::new(motor)).await;
        assert_eq!(report.check(), Ok(()), "{engine:?}");
        let pairs = [
            (&report.losses, &expected.losses),
            (&report.grad_norms, &expected.grad_norms),
        ];
        for (given, wanted) in pairs {
            for (given, wanted) in given.iter().zip(wanted) {
                let error = (given.0 / wanted.0 - 1.0).abs();
                assert!(error < NEAR, "{engine:?}: {given:?}, not {wanted:?}");
            }
        }
    }
}
