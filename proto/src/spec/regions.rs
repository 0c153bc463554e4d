//! `[network.regions]`: networks of several regions, from a spec or from a configuration file of the family.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::network::MAX_HIDDEN;
use super::read::{Choice, Table};
use crate::problem::FieldProblem;

/// Most regions of a kind.
const MAX_REGIONS: usize = 64;
/// Longest name of a region.
const MAX_NAME: usize = 64;

/// The sign with which a region's units act on others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Excitatory.
    Pos,
    /// Inhibitory.
    Neg,
}

impl Choice for Sign {
    const ALL: &'static [Self] = &[Self::Pos, Self::Neg];

    fn name(self) -> &'static str {
        match self {
            Self::Pos => "pos",
            Self::Neg => "neg",
        }
    }
}

/// Regions and what connects them. The order of the regions is the order of the blocks in the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegionsSpec {
    /// Regions of recurrent units.
    pub recurrent: Vec<RecurrentRegion>,
    /// Regions of inputs; they split the observation's numbers in order.
    pub inputs: Vec<InputRegion>,
    /// Connections from recurrent to recurrent regions; those not named are zero.
    pub recurrent_connections: Vec<Connection>,
    /// Connections from input to recurrent regions; those not named are zero.
    pub input_connections: Vec<Connection>,
}

/// A region of recurrent units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecurrentRegion {
    /// Its name; part of the names of its tensors.
    pub name: String,
    /// How many units.
    pub units: u32,
    /// The sign with which they act, where the network is constrained.
    pub sign: Sign,
    /// Their tonic input.
    pub base_firing: f64,
    /// Whether the tonic input is trained.
    pub learnable_base_firing: bool,
    /// Their state at the beginning of an episode.
    pub initial_x: f64,
    /// A name that it shares with other regions, to pick them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// A region of inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InputRegion {
    /// Its name; part of the names of its tensors.
    pub name: String,
    /// How many numbers of the observation.
    pub units: u32,
    /// The sign with which they act, where the network is constrained.
    pub sign: Sign,
}

/// A block of weights from one region to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The region that it comes from.
    pub src: String,
    /// The recurrent region that it goes to.
    pub dst: String,
    /// The fraction of each source unit's weights that is removed, rounded up to whole weights.
    pub sparsity: f64,
}

/// What decides the names and shapes of a network's tensors.
#[derive(Debug, PartialEq)]
pub(super) struct Shapes<'a> {
    recurrent: Vec<(&'a str, u32)>,
    inputs: Vec<(&'a str, u32)>,
    connections: BTreeSet<(&'a str, &'a str)>,
}

/// The words for the fields of a description of regions.
#[derive(Debug)]
pub(super) struct Words {
    recurrent: &'static str,
    inputs: &'static str,
    units: &'static str,
    learnable_base_firing: &'static str,
    initial_x: &'static str,
    parent: &'static str,
    src: &'static str,
    dst: &'static str,
    /// Fields of a region that are allowed and say nothing.
    ignored: &'static [&'static str],
}

/// The words of a spec.
pub(super) const OURS: Words = Words {
    recurrent: "recurrent",
    inputs: "inputs",
    units: "units",
    learnable_base_firing: "learnable_base_firing",
    initial_x: "initial_x",
    parent: "parent",
    src: "src",
    dst: "dst",
    ignored: &[],
};

/// The words of the family's configuration files.
const FAMILY: Words = Words {
    recurrent: "recurrent_regions",
    inputs: "input_regions",
    units: "num_units",
    learnable_base_firing: "learnable_bias",
    initial_x: "init",
    parent: "parent_region",
    src: "src_region",
    dst: "dst_region",
    ignored: &["device"],
};

impl RegionsSpec {
    /// Reads a configuration file of the model family: `recurrent_regions`, `input_regions`,
    /// `recurrent_connections` and `input_connections`, with `null` for what has its default value. The device
    /// that such files may name is not taken over.
    ///
    /// # Errors
    /// Every problem found, with pointers into the file; never an empty list.
    pub fn from_configuration(document: &Value) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let document = without_nulls(document);
        let regions = Table::read(&document, &mut problems, |table| Self::read(table, &FAMILY));
        if problems.is_empty() {
            Ok(regions)
        } else {
            Err(problems)
        }
    }

    pub(super) fn read(table: &mut Table<'_>, words: &Words) -> Self {
        let recurrent = table.tables(words.recurrent, 1..=MAX_REGIONS, |t, i| {
            RecurrentRegion::read(t, i, words)
        });
        let inputs = table.tables(words.inputs, 1..=MAX_REGIONS, |t, i| {
            InputRegion::read(t, i, words)
        });
        for (field, missing) in [
            (words.recurrent, recurrent.is_empty()),
            (words.inputs, inputs.is_empty()),
        ] {
            if missing && !table.is_wrong(field) {
                table.missing(
                    field,
                    format!("`{field}` is missing: a network has at least one region there"),
                );
            }
        }
        let recurrent_names: Vec<String> = recurrent.iter().map(|region| region.name.clone()).collect();
        let input_names: Vec<String> = inputs.iter().map(|region| region.name.clone()).collect();
        let mut connections = |field: &'static str, sources: &[String], what: &str| {
            table.tables(field, 0..=MAX_REGIONS * MAX_REGIONS, |t, _| {
                Connection::read(t, words, (sources, what), &recurrent_names)
            })
        };
        let recurrent_connections =
            connections("recurrent_connections", &recurrent_names, "recurrent region");
        let input_connections = connections("input_connections", &input_names, "input region");
        let regions = Self {
            recurrent,
            inputs,
            recurrent_connections,
            input_connections,
        };
        regions.check_names(table, words);
        regions.check_connections(table);
        regions
    }

    /// Names must tell regions apart, and parents from regions.
    fn check_names(&self, table: &mut Table<'_>, words: &Words) {
        let mut seen = BTreeSet::new();
        let recurrent = self.recurrent.iter().map(|region| &region.name);
        let inputs = self.inputs.iter().map(|region| &region.name);
        for (list, names) in [
            (words.recurrent, recurrent.collect::<Vec<_>>()),
            (words.inputs, inputs.collect()),
        ] {
            for (i, name) in names.into_iter().enumerate() {
                if !seen.insert(name) {
                    let detail = format!("two regions are called `{name}`");
                    table.problem_at(&format!("{list}/{i}/name"), json!(name), detail, "each name once");
                }
            }
        }
        for (i, region) in self.recurrent.iter().enumerate() {
            if let Some(parent) = region.parent.as_ref().filter(|&parent| seen.contains(parent)) {
                let place = format!("{}/{i}/{}", words.recurrent, words.parent);
                let detail = format!("`{parent}` is the name of a region: picking it would be ambiguous");
                table.problem_at(&place, json!(parent), detail, "a name that no region has");
            }
        }
    }

    /// Connections must not be named twice, nor two of them lead to the same names of tensors.
    fn check_connections(&self, table: &mut Table<'_>) {
        let mut tensors: BTreeSet<String> = self
            .recurrent
            .iter()
            .map(|region| format!("{}_base_firing", region.name))
            .collect();
        let recurrent: BTreeSet<&str> = self.recurrent_names().collect();
        let inputs: BTreeSet<&str> = self.inputs.iter().map(|region| region.name.as_str()).collect();
        for (list, connections, sources) in [
            ("recurrent_connections", &self.recurrent_connections, &recurrent),
            ("input_connections", &self.input_connections, &inputs),
        ] {
            let mut seen = BTreeSet::new();
            for (i, connection) in connections.iter().enumerate() {
                let Connection { src, dst, .. } = connection;
                if !sources.contains(src.as_str()) || !recurrent.contains(dst.as_str()) {
                    continue; // Reported already.
                }
                let place = format!("{list}/{i}");
                let block = format!("{src}_{dst}");
                if !seen.insert((src, dst)) {
                    let detail = format!("`{src}` is connected to `{dst}` twice");
                    table.problem_at(&place, json!(connection), detail, "each connection once");
                    continue;
                }
                let names = [
                    format!("{block}_weight_mask"),
                    format!("{block}_sign_matrix"),
                    block,
                ];
                for name in names {
                    if tensors.contains(&name) {
                        let detail = format!("two tensors of the network would be called `{name}`");
                        table.problem_at(&place, json!(connection), detail, "other names of regions");
                    }
                    tensors.insert(name);
                }
            }
        }
    }

    /// Units of all recurrent regions.
    #[must_use]
    pub fn hidden(&self) -> u32 {
        sum(self.recurrent.iter().map(|region| region.units))
    }

    /// Numbers of the observation that the input regions take.
    #[must_use]
    pub fn observed(&self) -> u32 {
        sum(self.inputs.iter().map(|region| region.units))
    }

    /// The names of the recurrent regions in their order.
    pub fn recurrent_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.recurrent.iter().map(|region| region.name.as_str())
    }

    /// What decides the names and shapes of its tensors.
    pub(super) fn shapes(&self) -> Shapes<'_> {
        let connections = self.recurrent_connections.iter().chain(&self.input_connections);
        Shapes {
            recurrent: self
                .recurrent
                .iter()
                .map(|r| (r.name.as_str(), r.units))
                .collect(),
            inputs: self.inputs.iter().map(|r| (r.name.as_str(), r.units)).collect(),
            connections: connections.map(|c| (c.src.as_str(), c.dst.as_str())).collect(),
        }
    }

    /// Regions and connections in words.
    pub(super) fn describe(&self) -> String {
        let Shapes {
            recurrent,
            inputs,
            connections,
        } = self.shapes();
        let units = |regions: Vec<(&str, u32)>| {
            let words = regions
                .into_iter()
                .map(|(name, units)| format!("{name} [{units}]"));
            words.collect::<Vec<_>>().join(", ")
        };
        let arrows = connections.into_iter().map(|(src, dst)| format!("{src} → {dst}"));
        format!(
            "regions {}, inputs {}, connections {}",
            units(recurrent),
            units(inputs),
            arrows.collect::<Vec<_>>().join(", ")
        )
    }
}

impl RecurrentRegion {
    fn read(table: &mut Table<'_>, index: usize, words: &Words) -> Self {
        table.ignore(words.ignored);
        Self {
            name: read_name(table, "name", &format!("region_{index}")),
            units: read_units(table, words),
            sign: table.choice("sign", Sign::Pos),
            base_firing: table.number("base_firing", -1e3..=1e3, 0.0),
            learnable_base_firing: table.flag(words.learnable_base_firing, false),
            initial_x: table.number(words.initial_x, -1e3..=1e3, 0.0),
            parent: table
                .is_given(words.parent)
                .then(|| read_name(table, words.parent, "")),
        }
    }
}

impl InputRegion {
    fn read(table: &mut Table<'_>, index: usize, words: &Words) -> Self {
        table.ignore(words.ignored);
        Self {
            name: read_name(table, "name", &format!("inp_{index}")),
            units: read_units(table, words),
            sign: table.choice("sign", Sign::Pos),
        }
    }
}

impl Connection {
    fn read(
        table: &mut Table<'_>,
        words: &Words,
        (sources, source): (&[String], &str),
        destinations: &[String],
    ) -> Self {
        Self {
            src: read_region(table, words.src, source, sources),
            dst: read_region(table, words.dst, "recurrent region", destinations),
            sparsity: table.number("sparsity", 0.0..=1.0, 0.0),
        }
    }
}

/// The name of a region; it becomes a part of the names of tensors.
fn read_name(table: &mut Table<'_>, field: &'static str, default: &str) -> String {
    let name = table.text(field, 1..=MAX_NAME, default);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.chars().all(fits) {
        let detail = format!("`{name}` cannot be a part of a tensor's name");
        table.problem_with(field, json!(name), detail, "letters, digits, _ and -");
    }
    name
}

fn read_units(table: &mut Table<'_>, words: &Words) -> u32 {
    if !table.is_given(words.units) {
        table.missing(
            words.units,
            format!("`{}` is missing: how many units the region has", words.units),
        );
    }
    table.integer(words.units, 1..=MAX_HIDDEN, 1) as u32
}

/// The name of a region that must be there.
fn read_region(table: &mut Table<'_>, field: &'static str, what: &str, known: &[String]) -> String {
    let Some(name) = table.optional_text(field, 1..=MAX_NAME) else {
        if !table.is_wrong(field) {
            table.missing(field, format!("`{field}` is missing: the name of a {what}"));
        }
        return String::new();
    };
    if !known.contains(&name) {
        table.unknown(field, what, &name, known.iter().map(String::as_str));
    }
    name
}

fn sum(units: impl Iterator<Item = u32>) -> u32 {
    units.fold(0, u32::saturating_add)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        other => other.clone(),
    }
}
