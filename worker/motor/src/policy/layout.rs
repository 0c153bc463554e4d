//! Where the weight blocks of a network's connections stand, and which tensors they are made of.

use std::ops::Range;

use super::parameters::{Group, Initial, Slot};
use super::regions::{Connection, FIRING, MASK, SIGN};
use super::{LeakyConfig, RegionsConfig, Sign};

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) regions: RegionsConfig,
    /// What the names of the tensors begin with.
    pub(super) prefix: &'static str,
    pub(super) blocks: Vec<Block>,
    /// Columns of the input matrix.
    pub(super) inputs: i64,
}

/// The weights of one connection.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) connection: Connection,
    pub(super) matrix: Matrix,
    pub(super) rows: Range<i64>,
    pub(super) columns: Range<i64>,
    sign: Sign,
    trainable: bool,
    /// Standard deviation of the initial weights.
    spread: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matrix {
    Recurrent,
    Input,
    /// Listed, but no part of any matrix: the inputs that a transfer has replaced.
    Unused,
}

/// The names of the blocks that a transfer puts in place of `input`.
const NEW_RULES: &str = "input_new_rules";
const CONDITION: &str = "condition";

impl Layout {
    pub(super) fn new(config: &LeakyConfig, prefix: &'static str) -> Self {
        let regions = config.region_structure();
        let rows = |name: &str| place(name, regions.recurrent.iter().map(|r| (r.name.as_str(), r.units)));
        let columns = |name: &str| place(name, regions.inputs.iter().map(|r| (r.name.as_str(), r.units)));
        let recurrent_sign = |name: &str| regions.recurrent.iter().find(|r| r.name == name).map(|r| r.sign);
        let input_sign = |name: &str| regions.inputs.iter().find(|r| r.name == name).map(|r| r.sign);
        let (hidden, inputs) = (regions.hidden() as f64, regions.inputs() as f64);
        let block = |connection: &Connection, matrix, columns: Range<i64>, sign: Option<Sign>, total: f64| {
            let rows = rows(&connection.dst);
            let fan = ((rows.end - rows.start) + (columns.end - columns.start)) as f64;
            let variance = if config.constrained {
                1.0 / total
            } else {
                2.0 / fan
            };
            Block {
                connection: connection.clone(),
                matrix,
                rows,
                columns,
                sign: sign.unwrap_or_default(),
                trainable: true,
                spread: variance.sqrt(),
            }
        };
        let recurrent = regions.recurrent_connections.iter().map(|c| {
            block(
                c,
                Matrix::Recurrent,
                rows(&c.src),
                recurrent_sign(&c.src),
                2.0 * hidden,
            )
        });
        let input = regions.input_connections.iter().map(|c| {
            block(
                c,
                Matrix::Input,
                columns(&c.src),
                input_sign(&c.src),
                hidden + inputs,
            )
        });
        let mut layout = Self {
            blocks: recurrent.chain(input).collect(),
            prefix,
            inputs: regions.inputs() as i64,
            regions,
        };
        if let Some(new_rules) = config.inputs.new_rules {
            layout.replace_rules(config.inputs.rules as i64, new_rules as i64);
        }
        layout
    }

    /// The single input block makes way for new rule inputs, alone trained, and the rest of its columns.
    fn replace_rules(&mut self, rules: i64, new_rules: i64) {
        let conditions = self.inputs - rules;
        let mut added = Vec::new();
        for block in &mut self.blocks {
            block.trainable = false;
            if block.matrix == Matrix::Input {
                block.matrix = Matrix::Unused;
                let hidden = block.rows.end - block.rows.start;
                let replacement = |name: &str, columns: Range<i64>, trainable| Block {
                    connection: Connection::new(name, &block.connection.dst, 0.0),
                    matrix: Matrix::Input,
                    rows: block.rows.clone(),
                    spread: (2.0 / (hidden + columns.end - columns.start) as f64).sqrt(),
                    columns,
                    sign: block.sign,
                    trainable,
                };
                added.push(replacement(NEW_RULES, 0..new_rules, true));
                added.push(replacement(CONDITION, new_rules..new_rules + conditions, false));
            }
        }
        self.blocks.extend(added);
        self.inputs = new_rules + conditions;
    }

    pub(super) fn hidden(&self) -> i64 {
        self.regions.hidden() as i64
    }

    fn is_transferred(&self) -> bool {
        self.blocks.iter().any(|block| block.matrix == Matrix::Unused)
    }

    /// The tensors that the network has, in the order of their registration.
    pub(super) fn slots(&self, constrained: bool) -> Vec<Slot> {
        let firing = self
            .regions
            .recurrent
            .iter()
            .filter(|r| r.learnable_base_firing)
            .map(|region| Slot {
                name: format!("{}{}{FIRING}", self.prefix, region.name),
                shape: vec![region.units as i64],
                group: Some(Group::BaseFiring),
                trainable: !self.is_transferred(),
                initial: Initial::Constant(region.base_firing),
            });
        let blocks = self
            .blocks
            .iter()
            .flat_map(|block| block.slots(self.prefix, constrained));
        firing.chain(blocks).collect()
    }
}

impl Block {
    fn slots(&self, prefix: &str, constrained: bool) -> [Slot; 3] {
        let rows = self.rows.end - self.rows.start;
        let slot = |suffix: &str, group, trainable, initial| Slot {
            name: format!("{prefix}{}{suffix}", self.connection.name()),
            shape: vec![rows, self.columns.end - self.columns.start],
            group,
            trainable,
            initial,
        };
        let group = match self.matrix {
            Matrix::Recurrent => Group::Recurrent,
            Matrix::Input | Matrix::Unused => Group::Input,
        };
        let spread = self.spread;
        let weights = if constrained {
            Initial::HalfNormal { spread }
        } else {
            Initial::Normal { spread }
        };
        let removed = self.connection.removed(rows as usize);
        [
            slot("", Some(group), self.trainable, weights),
            slot(MASK, None, false, Initial::Mask { removed }),
            slot(SIGN, None, false, Initial::Signs(self.sign)),
        ]
    }
}

/// Where a region is among those of its list.
fn place<'a>(name: &str, regions: impl Iterator<Item = (&'a str, usize)>) -> Range<i64> {
    let mut start = 0;
    for (region, units) in regions {
        let end = start + units as i64;
        if region == name {
            return start..end;
        }
        start = end;
    }
    start..start
}
