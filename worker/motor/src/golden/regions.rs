//! Networks of several regions, alone and side by side, with given inputs.

use std::collections::BTreeSet;

use tch::{Kind, Tensor};

use super::FileError;
use super::comparison::{Comparison, Quantity};
use super::file::GoldenFile;
use crate::device::Numerics;
use crate::policy::{
    Activation, Connection, InputBlocks, InputRegion, LeakyConfig, LeakyPolicy, RecurrentRegion,
    RegionNetwork, RegionsConfig, SideBySide, Sign, UnitState,
};

/// `mrnn_multi`: every group with tensors under `param/` is a network of several regions, constrained where it is
/// called `dale…`; every group with tensors under `member/` is networks side by side.
pub(super) fn sequences(
    file: &GoldenFile,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let groups: BTreeSet<(&str, &str)> = file
        .names()
        .filter_map(|name| {
            let (group, rest) = name.split_once('/')?;
            Some((group, rest.split_once('/')?.0))
        })
        .collect();
    for (group, kind) in groups {
        match kind {
            "param" => regions(file, group, numerics, comparison)?,
            "member" => side_by_side(file, group, numerics, comparison)?,
            _ => {}
        }
    }
    Ok(())
}

/// Assembled matrices, a sequence from a given state with an additive input, and the gradients of Σ w_h h.
/// Sequences are stored batch first.
fn regions(
    file: &GoldenFile,
    group: &str,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let state = file.table(&format!("{group}/param/"), numerics)?;
    let config = region_config(file, group)?;
    let activation = config.activation;
    let network = RegionNetwork::from_state(config, "", &state, numerics)?;
    if let Some(unknown) = state
        .keys()
        .find(|name| network.named_parameters().all(|(own, _)| own != *name))
    {
        return Err(FileError::NotUnderstood(format!("{group}/param/{unknown}")));
    }
    let stored = |name: &str| format!("{group}/{name}");
    let time_first = |name: &str| -> Result<Tensor, FileError> {
        Ok(file.input(&stored(name), numerics)?.transpose(0, 1))
    };
    let extra: Vec<Tensor> = file
        .below(&format!("{group}/"))
        .filter(|name| name.starts_with("stim"))
        .map(time_first)
        .collect::<Result<_, _>>()?;
    let start = UnitState {
        x: file.input(&stored("x0"), numerics)?,
        h: file.input(&stored("h0"), numerics)?,
    };
    let (x, h) = network.sequence(&time_first("input")?, &start, &extra, None);
    let value = (&h * time_first("w_h")?).sum(None::<Kind>);
    let ours = [
        (Quantity::ClosedLoop, "W_rec", network.recurrent_matrix()),
        (Quantity::ClosedLoop, "W_inp", network.input_matrix()),
        (Quantity::ClosedLoop, "bias", network.base_firing()),
        (Quantity::ClosedLoop, "x", x.transpose(0, 1)),
        (Quantity::ClosedLoop, "h", h.transpose(0, 1)),
        (Quantity::Loss, "value", value.reshape([1])),
    ];
    for (quantity, name, ours) in ours {
        comparison.stored(quantity, file, &stored(name), &ours)?;
    }
    let (names, parameters): (Vec<&str>, Vec<&Tensor>) = network.trainable().unzip();
    let quantity = match activation {
        Activation::Relu => Quantity::ReluGradient,
        _ => Quantity::Gradient,
    };
    let gradients = Tensor::run_backward(&[&value], &parameters, false, false);
    for ((name, parameter), gradient) in names.into_iter().zip(parameters).zip(gradients) {
        let gradient = if gradient.defined() {
            gradient
        } else {
            parameter.zeros_like()
        };
        comparison.stored(quantity, file, &stored(&format!("grad/{name}")), &gradient)?;
    }
    Ok(())
}

/// What a group's metadata says: regions and connections for the whole file, `activation, dt …, tau …` under its name.
fn region_config(file: &GoldenFile, group: &str) -> Result<LeakyConfig, FileError> {
    let connections = |key: &str| -> Result<Vec<Connection>, FileError> {
        let edges: Vec<(String, String, Option<f64>)> = file.literal(key)?;
        let connection = |(src, dst, sparsity): &(String, String, Option<f64>)| {
            Connection::new(src, dst, sparsity.unwrap_or(0.0))
        };
        Ok(edges.iter().map(connection).collect())
    };
    let mut regions = RegionsConfig {
        recurrent_connections: connections("recurrent_edges")?,
        input_connections: connections("input_edges")?,
        ..RegionsConfig::default()
    };
    for (name, units, sign) in file.literal::<Vec<(String, usize, Sign)>>("inputs")? {
        regions.inputs.push(InputRegion {
            sign,
            ..InputRegion::new(&name, units)
        });
    }
    // A region without a parameter for its base firing has a fixed one, which only the assembled vector tells.
    let bias = file.reference(&format!("{group}/bias"))?;
    for (name, units, sign) in file.literal::<Vec<(String, usize, Sign)>>("recurrent")? {
        let first = regions.hidden() as i64;
        let learnable_base_firing = file.has(&format!("{group}/param/{name}_base_firing"));
        if first + units as i64 > bias.numel() as i64 {
            return Err(FileError::Shape {
                name: format!("{group}/bias"),
                shape: bias.size(),
            });
        }
        regions.recurrent.push(RecurrentRegion {
            sign,
            learnable_base_firing,
            base_firing: bias.double_value(&[first]),
            ..RecurrentRegion::new(&name, units)
        });
    }
    regions.validate()?;
    let (activation, dt_ms, time_constant_ms) = units_of(file, group)?;
    let constrained = group.starts_with("dale");
    Ok(LeakyConfig {
        hidden: regions.hidden(),
        activation,
        dt_ms,
        time_constant_ms,
        constrained,
        ignore_masks: !constrained,
        regions: Some(regions),
        ..LeakyConfig::default()
    })
}

/// Reads `<activation>, dt <ms>, tau <ms>`.
fn units_of(file: &GoldenFile, group: &str) -> Result<(Activation, f64, f64), FileError> {
    let defaults = LeakyConfig::default();
    let mut units = (defaults.activation, defaults.dt_ms, defaults.time_constant_ms);
    let Ok(text) = file.metadata(group) else {
        return Ok(units);
    };
    let not_understood = || FileError::Metadata {
        key: group.to_owned(),
        value: text.to_owned(),
    };
    for part in text.split(',').map(str::trim) {
        let number = |text: &str| text.trim().parse::<f64>().map_err(|_| not_understood());
        if let Some(dt) = part.strip_prefix("dt ") {
            units.1 = number(dt)?;
        } else if let Some(tau) = part.strip_prefix("tau ") {
            units.2 = number(tau)?;
        } else {
            units.0 = serde_json::from_value(part.into()).map_err(|_| not_understood())?;
        }
    }
    Ok(units)
}

/// Members under `member/<name>/` in the order of their names or numbers, with the input blocks of `input/<name>`. Sequences are
/// stored time first.
fn side_by_side(
    file: &GoldenFile,
    group: &str,
    numerics: Numerics,
    comparison: &mut Comparison,
) -> Result<(), FileError> {
    let below = format!("{group}/member/");
    // Numbers in their order: 10 comes after 9.
    let names: BTreeSet<(Option<usize>, &str)> = file
        .below(&below)
        .filter_map(|name| Some(name.split_once('/')?.0))
        .map(|name| (name.parse().ok(), name))
        .collect();
    let (activation, dt_ms, time_constant_ms) = units_of(file, group)?;
    let mut members = Vec::new();
    for (_, name) in names {
        let mut state = file.table(&format!("{below}{name}/"), numerics)?;
        let input = file.input(&format!("{group}/input/{name}"), numerics)?;
        let config = LeakyConfig {
            hidden: usize::try_from(input.size().first().copied().unwrap_or(0)).unwrap_or(0),
            activation,
            dt_ms,
            time_constant_ms,
            ..LeakyConfig::default()
        };
        state.insert(
            "mrnn.input_region".to_owned(),
            crate::host_tensor::HostTensor::from_tensor(&input),
        );
        members.push(LeakyPolicy::from_state(config, &state, numerics)?);
    }
    let network = SideBySide::stitch(&members.iter().collect::<Vec<_>>(), InputBlocks::Copied)?;
    let sequence = network.sequence(&file.input(&format!("{group}/obs"), numerics)?, None);
    let ours = [
        ("x", &sequence.x),
        ("h", &sequence.h),
        ("action", &sequence.action),
        ("output_weight", network.output_weight()),
        ("output_bias", network.output_bias()),
    ];
    for (name, ours) in ours {
        comparison.stored(Quantity::ClosedLoop, file, &format!("{group}/{name}"), ours)?;
    }
    Ok(())
}
