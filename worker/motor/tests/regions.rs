//! Networks of several regions: the matrices that their blocks make up, and what of them acts.

// libtorch counts in i64.
#![allow(clippy::cast_possible_wrap)]

mod common;

use common::three_regions;
use motif_motor::device::{Numerics, Precision};
use motif_motor::error::Error;
use motif_motor::optimizer::gradients;
use motif_motor::policy::{
    Bounds, Connection, InputRegion, LeakyConfig, LeakyPolicy, NetworkConfig, Policy, RecurrentRegion,
    RegionsConfig, Sign,
};
use proptest::prelude::*;
use tch::{Kind, Tensor};

fn numerics() -> Numerics {
    Numerics::cpu(Precision::F64)
}

fn leaky(config: LeakyConfig) -> LeakyPolicy {
    NetworkConfig::Leaky(config.clone()).validate().expect("valid");
    LeakyPolicy::new(config, 3, numerics())
}

fn multi(change: impl FnOnce(&mut LeakyConfig)) -> LeakyConfig {
    let mut config = three_regions();
    change(&mut config);
    config
}

fn count(condition: &Tensor) -> i64 {
    condition.to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[])
}

#[test]
fn in_a_constrained_network_every_region_keeps_its_sign() {
    let policy = leaky(multi(|config| config.constrained = true));
    for source in ["exc", "inh", "mid"] {
        let sign = if source == "inh" { -1.0 } else { 1.0 };
        for destination in ["exc", "inh", "mid"] {
            let block = policy
                .network()
                .recurrent_block(destination, source)
                .expect("known");
            assert_eq!(count(&(block * sign).lt(0.0)), 0, "{source} to {destination}");
        }
    }
    let negative_input = policy.effective().input.narrow(1, 20, 8);
    assert_eq!(count(&negative_input.gt(0.0)), 0);
    assert!(count(&negative_input.lt(0.0)) > 0);
}

#[test]
fn the_weights_of_a_constrained_network_act_within_their_bounds() {
    let bounded = |config: &mut LeakyConfig| {
        config.constrained = true;
        config.recurrent_bounds = Some(Bounds {
            lower: 0.05,
            upper: 0.2,
        });
        config.input_bounds = Some(Bounds {
            lower: 0.0,
            upper: 0.1,
        });
    };
    let policy = Policy::Leaky(Box::new(leaky(multi(bounded))));
    let effective = policy.effective();
    let [recurrent, input] = [effective.tensors()[0].abs(), effective.tensors()[1].abs()];
    let there = recurrent.gt(0.0);
    assert!(recurrent.max().double_value(&[]) <= 0.2 && input.max().double_value(&[]) <= 0.1);
    assert_eq!(count(&recurrent.lt(0.05).logical_and(&there)), 0);
    // The stored weights stay as they are, and one beyond a bound has no slope.
    let sum = recurrent.sum(recurrent.kind());
    let (_, slope) = gradients(&sum, &policy, true)
        .into_iter()
        .find(|(name, _)| name == "mrnn.exc_inh")
        .expect("trained");
    let stored = policy.state()["mrnn.exc_inh"].to_tensor().abs();
    let within = stored.ge(0.05).logical_and(&stored.le(0.2));
    assert!((1..72).contains(&count(&within)), "{}", count(&within));
    assert_eq!(count(&slope.not_equal(0.0).logical_xor(&within)), 0);
}

#[test]
fn bounds_that_cannot_be_kept_are_refused() {
    let refused = |change: &dyn Fn(&mut LeakyConfig)| {
        let config = NetworkConfig::Leaky(multi(change));
        match config.validate() {
            Err(Error::InvalidConfig { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    let bounds = |lower, upper| Some(Bounds { lower, upper });
    for (lower, upper) in [(0.5, 0.1), (-0.1, 1.0), (0.0, 0.0), (0.0, f64::INFINITY)] {
        let field = refused(&|config| {
            config.constrained = true;
            config.input_bounds = bounds(lower, upper);
        });
        assert_eq!(field, "network.input_bounds", "{lower} {upper}");
    }
    let free = refused(&|config| config.recurrent_bounds = bounds(0.0, 1.0));
    assert_eq!(free, "network.recurrent_bounds");
    let scaled = refused(&|config| {
        config.constrained = true;
        config.recurrent_bounds = bounds(0.0, 1.0);
        config.spectral_radius = Some(0.9);
    });
    assert_eq!(scaled, "network.spectral_radius");
}

#[test]
fn sparsity_is_the_fraction_that_is_removed_from_every_column() {
    let policy = leaky(three_regions());
    let block = policy.network().recurrent_block("exc", "exc").expect("known");
    // ⌈0.3 · 12⌉ of the twelve weights of every source unit.
    let removed = block.eq(0.0).sum_dim_intlist(0, false, Kind::Int64);
    assert_eq!(Vec::<i64>::try_from(&removed).expect("a row"), [4; 12]);
    let columns: std::collections::BTreeSet<Vec<bool>> = (0..12)
        .map(|column| Vec::<bool>::try_from(block.select(1, column).eq(0.0)).expect("a column"))
        .collect();
    assert!(columns.len() > 6, "columns lose different weights");
    assert_eq!(
        zeros_from_exc_to_itself(&leaky(multi(|config| config.ignore_masks = true))),
        0
    );
}

fn zeros_from_exc_to_itself(policy: &LeakyPolicy) -> i64 {
    count(
        &policy
            .network()
            .recurrent_block("exc", "exc")
            .expect("known")
            .eq(0.0),
    )
}

#[test]
fn regions_that_are_not_connected_stay_so() {
    let policy = leaky(three_regions());
    for (destination, source) in [("mid", "mid"), ("mid", "inh"), ("inh", "mid")] {
        let block = policy
            .network()
            .recurrent_block(destination, source)
            .expect("known");
        assert_eq!(count(&block.not_equal(0.0)), 0, "{source} to {destination}");
    }
}

#[test]
fn activity_is_picked_by_region_and_by_parent() {
    let policy = leaky(three_regions());
    let activity = Tensor::arange(27, (Kind::Double, tch::Device::Cpu)).reshape([1, 27]);
    let picked = |name: &str| -> Vec<f64> {
        let picked = policy.network().activity_of(&activity, name).expect("known");
        Vec::try_from(picked.reshape([-1])).expect("numbers")
    };
    let numbers = |range: std::ops::Range<i32>| range.map(f64::from);
    assert_eq!(picked("inh"), numbers(12..18).collect::<Vec<_>>());
    assert_eq!(
        picked("outer"),
        numbers(0..12).chain(numbers(18..27)).collect::<Vec<_>>()
    );
    let error = policy.network().units_of("outre").expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "region `outre` is unknown: there are exc, inh, mid, outer"
    );
}

#[test]
fn the_initial_weights_get_the_spectral_radius_that_is_asked_for() {
    for constrained in [false, true] {
        let policy = leaky(multi(|config| {
            config.spectral_radius = Some(0.8);
            config.constrained = constrained;
        }));
        let eigenvalues = policy.network().recurrent_matrix().detach().linalg_eigvals();
        assert!((eigenvalues.abs().max().double_value(&[]) - 0.8).abs() < 1e-9);
    }
}

#[test]
fn units_start_where_their_region_says_and_fire_with_its_base() {
    let policy = leaky(three_regions());
    let state = policy.network().prepare().start(2);
    let of = |tensor: &Tensor, name: &str| {
        let part = policy.network().activity_of(tensor, name).expect("known");
        (part.min().double_value(&[]), part.max().double_value(&[]))
    };
    assert_eq!(of(&state.x, "exc"), (0.5, 0.5));
    assert_eq!(of(&state.x, "mid"), (0.0, 0.0));
    assert_eq!(of(&state.h, "exc"), (0.0, 0.0));
    let base = policy.effective().base_firing;
    assert_eq!(of(&base, "mid"), (0.2, 0.2));
    assert_eq!(of(&base, "exc"), (0.1, 0.1));
}

#[test]
fn impossible_regions_are_refused_and_named() {
    type Change = dyn Fn(&mut RegionsConfig);
    let refused = |change: &Change| {
        let mut config = three_regions();
        change(config.regions.as_mut().expect("regions"));
        match NetworkConfig::Leaky(config).validate() {
            Err(Error::InvalidConfig { field, problem }) => format!("{field}: {problem}"),
            other => panic!("{other:?}"),
        }
    };
    let cases: [(&Change, &str); 9] = [
        (
            &|r| r.recurrent_connections[1].dst = "ihn".to_owned(),
            "network.regions.recurrent_connections: dst `ihn` is unknown: the regions are exc, inh, mid",
        ),
        (
            &|r| r.input_connections[0].src = "exc".to_owned(),
            "network.regions.input_connections: src `exc` is unknown: the regions are ctx, drv",
        ),
        (
            &|r| r.recurrent[1].name = "exc".to_owned(),
            "network.regions.recurrent: `exc` names 2 regions",
        ),
        (
            &|r| r.recurrent[1].name = "a b".to_owned(),
            "network.regions.recurrent: `a b` must be 1 to 64 letters, digits, - or _",
        ),
        (
            &|r| r.recurrent_connections[0].sparsity = 1.5,
            "network.regions.recurrent_connections: exc_exc must have a sparsity of 0 to 1",
        ),
        (
            &|r| r.recurrent_connections.push(Connection::new("exc", "exc", 0.0)),
            "network.regions.recurrent_connections: exc_exc is there twice",
        ),
        (
            &|r| r.recurrent[0].units = 11,
            "network.hidden: is 27, but the regions have 26 units",
        ),
        (
            &|r| r.inputs[0].units = 19,
            "network.regions.inputs: have 27 units, but an observation has 28",
        ),
        (
            &|r| r.recurrent[2].parent = Some("inh".to_owned()),
            "network.regions.recurrent: `mid` has the parent `inh`, which is a region's name",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(change), expected);
    }
    let chain = multi(|config| {
        config.spectral_radius = Some(1.0);
        let regions = config.regions.as_mut().expect("regions");
        regions.recurrent_connections = vec![
            Connection::new("exc", "inh", 0.0),
            Connection::new("inh", "mid", 0.0),
        ];
    });
    assert!(matches!(
        NetworkConfig::Leaky(chain).validate(),
        Err(Error::InvalidConfig {
            field: "network.spectral_radius",
            ..
        })
    ));
}

/// Up to four regions and three inputs of any sizes and signs, with any of the possible connections.
fn any_network() -> impl Strategy<Value = LeakyConfig> {
    let regions = |most| prop::collection::vec((1_usize..7, any::<bool>()), 1..=most);
    let edges = prop::collection::vec(prop::option::of(0.0..=1.0_f64), 28);
    (regions(4), regions(3), edges, any::<[bool; 2]>()).prop_map(
        |(recurrent, mut inputs, edges, switches)| {
            let sign = |negative| if negative { Sign::Neg } else { Sign::Pos };
            // The last input takes what is left of the observation.
            let taken: usize = inputs.iter().map(|(units, _)| units).sum();
            if let Some((units, _)) = inputs.last_mut() {
                *units += 28 - taken;
            }
            let (n, mut edges) = (recurrent.len(), edges.into_iter());
            let mut connections = |sources: usize, prefix: &str| -> Vec<Connection> {
                let pairs = (0..sources).flat_map(|src| (0..n).map(move |dst| (src, dst)));
                let there = pairs.zip(edges.by_ref()).filter_map(|((src, dst), sparsity)| {
                    Some(Connection::new(
                        &format!("{prefix}{src}"),
                        &format!("r{dst}"),
                        sparsity?,
                    ))
                });
                there.collect()
            };
            let regions = RegionsConfig {
                recurrent_connections: connections(n, "r"),
                input_connections: connections(inputs.len(), "i"),
                recurrent: recurrent
                    .iter()
                    .zip(0..)
                    .map(|(&(units, negative), i)| RecurrentRegion {
                        sign: sign(negative),
                        learnable_base_firing: i % 2 == 0,
                        base_firing: 0.1 * f64::from(i),
                        ..RecurrentRegion::new(&format!("r{i}"), units)
                    })
                    .collect(),
                inputs: inputs
                    .iter()
                    .zip(0..)
                    .map(|(&(units, negative), i)| InputRegion {
                        sign: sign(negative),
                        ..InputRegion::new(&format!("i{i}"), units)
                    })
                    .collect(),
            };
            LeakyConfig {
                hidden: regions.hidden(),
                regions: Some(regions),
                constrained: switches[0],
                ignore_masks: switches[1],
                ..LeakyConfig::default()
            }
        },
    )
}

/// Puts the blocks where the lists say, entry by entry, and says which of them can move W or U.
fn by_hand(config: &LeakyConfig, policy: &Policy) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let regions = config.regions.as_ref().expect("regions");
    let hidden = regions.hidden();
    let (mut recurrent, mut input) = (vec![vec![0.0; hidden]; hidden], vec![vec![0.0; 28]; hidden]);
    let first = |units: Vec<(&str, usize)>, wanted: &str| -> usize {
        units
            .iter()
            .take_while(|(name, _)| *name != wanted)
            .map(|(_, units)| units)
            .sum()
    };
    let recurrent_units = || {
        regions
            .recurrent
            .iter()
            .map(|r| (r.name.as_str(), r.units))
            .collect::<Vec<_>>()
    };
    let input_units = || {
        regions
            .inputs
            .iter()
            .map(|r| (r.name.as_str(), r.units))
            .collect::<Vec<_>>()
    };
    let state = policy.state();
    let all = regions.recurrent_connections.iter().zip(std::iter::repeat(true));
    let all = all.chain(regions.input_connections.iter().zip(std::iter::repeat(false)));
    for (connection, is_recurrent) in all {
        let part = |suffix: &str| state[&format!("mrnn.{}{suffix}", connection.name())].to_tensor();
        let (weights, mask, signs) = (part(""), part("_weight_mask"), part("_sign_matrix"));
        let row = first(recurrent_units(), &connection.dst);
        let sources = if is_recurrent {
            recurrent_units()
        } else {
            input_units()
        };
        let column = first(sources, &connection.src);
        let matrix = if is_recurrent { &mut recurrent } else { &mut input };
        let size = weights.size();
        for i in 0..size[0] {
            for j in 0..size[1] {
                let at = |tensor: &Tensor| tensor.double_value(&[i, j]);
                matrix[row + i as usize][column + j as usize] =
                    match (config.constrained, config.ignore_masks) {
                        (true, _) => at(&weights).abs() * at(&signs),
                        (false, false) => at(&weights) * at(&mask),
                        (false, true) => at(&weights),
                    };
            }
        }
        let removed = mask.eq(0.0).sum_dim_intlist(0, false, Kind::Int64);
        let expected = (connection.sparsity * size[0] as f64).ceil() as i64;
        assert_eq!(count(&removed.not_equal(expected)), 0, "{}", connection.name());
    }
    (recurrent, input)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_network_is_put_together_block_by_block(config in any_network(), seed in any::<u64>()) {
        NetworkConfig::Leaky(config.clone()).validate().expect("valid");
        let policy = Policy::new(&NetworkConfig::Leaky(config.clone()), seed, numerics());
        let effective = policy.effective();
        let (recurrent, input) = by_hand(&config, &policy);
        let rows = |tensor: &Tensor| Vec::<Vec<f64>>::try_from(tensor.detach()).expect("a matrix");
        // -0 is 0.
        prop_assert_eq!(rows(effective.tensors()[0]), recurrent);
        prop_assert_eq!(rows(effective.tensors()[1]), input);

        let again = Policy::from_state(&NetworkConfig::Leaky(config.clone()), &policy.state(), numerics());
        prop_assert_eq!(again.expect("its own state").state(), policy.state());
    }

    #[test]
    fn what_a_mask_removes_gets_no_gradient(config in any_network(), seed in any::<u64>()) {
        let config = LeakyConfig { ignore_masks: false, ..config };
        let policy = Policy::new(&NetworkConfig::Leaky(config), seed, numerics());
        let effective = policy.effective();
        let sum = effective.tensors().into_iter().map(|w| w.exp().sum(w.kind())).sum();
        let state = policy.state();
        for (name, gradient) in gradients(&sum, &policy, false) {
            if let Some(mask) = state.get(&format!("{name}_weight_mask")) {
                let removed = mask.to_tensor().eq(0.0);
                let moved = gradient.not_equal(0.0);
                prop_assert_eq!(count(&moved.logical_and(&removed)), 0, "{}", name);
                // A weight of exactly 0 has no slope through |·|.
                prop_assert_eq!(count(&moved), count(&removed.logical_not()), "{}", name);
            }
        }
    }
}
