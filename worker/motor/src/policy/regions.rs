//! Regions of a recurrent network and the connections between them, as plain data.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Which regions there are and which of them are connected.
///
/// Order is meaning: units and input columns are numbered through in the order of the lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionsConfig {
    pub recurrent: Vec<RecurrentRegion>,
    pub inputs: Vec<InputRegion>,
    pub recurrent_connections: Vec<Connection>,
    pub input_connections: Vec<Connection>,
}

/// A group of units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecurrentRegion {
    pub name: String,
    pub units: usize,
    /// Sign of the outgoing weights in a constrained network.
    #[serde(default)]
    pub sign: Sign,
    /// Tonic input of every unit, b; where it is learnable, its initial value.
    #[serde(default)]
    pub base_firing: f64,
    #[serde(default)]
    pub learnable_base_firing: bool,
    /// State x that every unit starts from.
    #[serde(default)]
    pub initial_x: f64,
    /// Name under which several regions can be picked together.
    #[serde(default)]
    pub parent: Option<String>,
}

/// A group of input columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRegion {
    pub name: String,
    pub units: usize,
    /// Sign of the outgoing weights in a constrained network.
    #[serde(default)]
    pub sign: Sign,
}

/// Weights from every unit of one region to every unit of another, less those that sparsity removes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    pub src: String,
    pub dst: String,
    /// Fraction **removed**: of every source unit's weights, ⌈sparsity · destination units⌉ are cut.
    #[serde(default)]
    pub sparsity: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    #[default]
    Pos,
    Neg,
}

impl Sign {
    pub fn factor(self) -> f64 {
        match self {
            Sign::Pos => 1.0,
            Sign::Neg => -1.0,
        }
    }
}

impl Connection {
    pub fn new(src: &str, dst: &str, sparsity: f64) -> Self {
        Self {
            src: src.to_owned(),
            dst: dst.to_owned(),
            sparsity,
        }
    }

    /// Name of its weights.
    pub fn name(&self) -> String {
        format!("{}_{}", self.src, self.dst)
    }

    /// Entries that are cut out of a column of `rows`.
    pub fn removed(&self, rows: usize) -> usize {
        ((self.sparsity * rows as f64).ceil() as usize).min(rows)
    }
}

/// What the names of a connection's mask and signs, and of a region's base firing, end in.
pub(super) const MASK: &str = "_weight_mask";
pub(super) const SIGN: &str = "_sign_matrix";
pub(super) const FIRING: &str = "_base_firing";

/// More regions or connections than this are refused.
const MAX_REGIONS: usize = 256;

impl RegionsConfig {
    /// One region, `region`, fully connected with itself and with one input, `input`; learnable base firing.
    pub fn single(hidden: usize, inputs: usize) -> Self {
        Self {
            recurrent: vec![RecurrentRegion {
                learnable_base_firing: true,
                ..RecurrentRegion::new("region", hidden)
            }],
            inputs: vec![InputRegion::new("input", inputs)],
            recurrent_connections: vec![Connection::new("region", "region", 0.0)],
            input_connections: vec![Connection::new("input", "region", 0.0)],
        }
    }

    /// Units of all recurrent regions.
    pub fn hidden(&self) -> usize {
        self.recurrent.iter().map(|region| region.units).sum()
    }

    /// Columns of all input regions.
    pub fn inputs(&self) -> usize {
        self.inputs.iter().map(|region| region.units).sum()
    }

    /// Whether activity can come back to where it was: without that all eigenvalues of W are 0.
    pub(super) fn has_loop(&self) -> bool {
        let mut left: BTreeSet<&str> = self.recurrent.iter().map(|region| region.name.as_str()).collect();
        loop {
            let reached = |name: &&str| {
                let into = |c: &&Connection| c.dst == **name && c.sparsity < 1.0;
                self.recurrent_connections
                    .iter()
                    .filter(into)
                    .any(|c| left.contains(c.src.as_str()))
            };
            let still: BTreeSet<&str> = left.iter().filter(|name| reached(name)).copied().collect();
            if still.len() == left.len() {
                return !left.is_empty();
            }
            left = still;
        }
    }

    /// # Errors
    /// [`Error::InvalidConfig`] that names the list and, for connections, the regions there are.
    pub fn validate(&self) -> Result<(), Error> {
        let recurrent: Vec<&str> = self.recurrent.iter().map(|region| region.name.as_str()).collect();
        let inputs: Vec<&str> = self.inputs.iter().map(|region| region.name.as_str()).collect();
        let all: Vec<&str> = recurrent.iter().chain(&inputs).copied().collect();
        validate_names("network.regions.recurrent", &recurrent, &all)?;
        validate_names("network.regions.inputs", &inputs, &all)?;
        for (region, units) in self
            .recurrent
            .iter()
            .map(|region| (&region.name, region.units))
            .chain(self.inputs.iter().map(|region| (&region.name, region.units)))
        {
            let problem = || format!("`{region}` must have 1 to {} units", super::MAX_HIDDEN);
            refuse_unless(
                (1..=super::MAX_HIDDEN).contains(&units),
                "network.regions",
                problem,
            )?;
        }
        for region in &self.recurrent {
            let finite = region.base_firing.is_finite() && region.initial_x.is_finite();
            refuse_unless(finite, "network.regions.recurrent", || {
                format!("`{}` must have finite base_firing and initial_x", region.name)
            })?;
            let parent = region.parent.as_deref().unwrap_or("");
            refuse_unless(!all.contains(&parent), "network.regions.recurrent", || {
                format!(
                    "`{}` has the parent `{parent}`, which is a region's name",
                    region.name
                )
            })?;
        }
        validate_connections(
            "network.regions.recurrent_connections",
            &self.recurrent_connections,
            &recurrent,
            &recurrent,
        )?;
        validate_connections(
            "network.regions.input_connections",
            &self.input_connections,
            &inputs,
            &recurrent,
        )?;
        self.validate_tensor_names()
    }

    /// `a_b` → `c` and `a` → `b_c` would both be the tensor `a_b_c`.
    fn validate_tensor_names(&self) -> Result<(), Error> {
        let connections = self.recurrent_connections.iter().chain(&self.input_connections);
        let blocks = connections
            .flat_map(|connection| ["", MASK, SIGN].map(|suffix| format!("{}{suffix}", connection.name())));
        let firings = self
            .recurrent
            .iter()
            .map(|region| format!("{}{FIRING}", region.name));
        let mut seen = BTreeSet::new();
        for name in blocks.chain(firings) {
            refuse_unless(!seen.contains(&name), "network.regions", || {
                format!("would have two tensors of the name `{name}`: rename a region")
            })?;
            seen.insert(name);
        }
        Ok(())
    }
}

impl RecurrentRegion {
    pub fn new(name: &str, units: usize) -> Self {
        Self {
            name: name.to_owned(),
            units,
            sign: Sign::Pos,
            base_firing: 0.0,
            learnable_base_firing: false,
            initial_x: 0.0,
            parent: None,
        }
    }
}

impl InputRegion {
    pub fn new(name: &str, units: usize) -> Self {
        Self {
            name: name.to_owned(),
            units,
            sign: Sign::Pos,
        }
    }
}

fn refuse_unless(holds: bool, field: &'static str, problem: impl FnOnce() -> String) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::InvalidConfig {
            field,
            problem: problem(),
        })
    }
}

/// Names become parts of tensor names: letters, digits, - and _, each only once.
fn validate_names(field: &'static str, names: &[&str], all: &[&str]) -> Result<(), Error> {
    refuse_unless((1..=MAX_REGIONS).contains(&names.len()), field, || {
        format!("must be 1 to {MAX_REGIONS} regions")
    })?;
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        refuse_unless(
            (1..=64).contains(&name.len()) && name.chars().all(plain),
            field,
            || format!("`{name}` must be 1 to 64 letters, digits, - or _"),
        )?;
        let times = all.iter().filter(|other| *other == name).count();
        refuse_unless(times == 1, field, || format!("`{name}` names {times} regions"))?;
    }
    Ok(())
}

fn validate_connections(
    field: &'static str,
    connections: &[Connection],
    sources: &[&str],
    destinations: &[&str],
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for connection in connections {
        for (end, name, known) in [
            ("src", connection.src.as_str(), sources),
            ("dst", connection.dst.as_str(), destinations),
        ] {
            refuse_unless(known.contains(&name), field, || {
                format!("{end} `{name}` is unknown: the regions are {}", known.join(", "))
            })?;
        }
        let link = connection.name();
        refuse_unless((0.0..=1.0).contains(&connection.sparsity), field, || {
            format!("{link} must have a sparsity of 0 to 1")
        })?;
        let first = seen.insert((&connection.src, &connection.dst));
        refuse_unless(first, field, || format!("{link} is there twice"))?;
    }
    Ok(())
}
