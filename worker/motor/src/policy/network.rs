//! Recurrent networks of several regions: weight blocks, and the matrices that they make up.

use std::ops::Range;

use tch::Tensor;

use super::parameters::{Group, Initial, Parameters, Slot};
use super::regions::{Connection, FIRING, MASK, SIGN};
use super::{Activation, LeakyConfig, RegionsConfig, Sign, UnitNoise, UnitState};
use crate::checkpoint::CheckpointError;
use crate::device::Numerics;
use crate::host_tensor::TensorTable;

/// Leaky units in regions, without outputs.
///
/// One step, with α = dt/τ, input u, and noise ξ = √(2/α) σ z of unit normal draws z:
///
/// ```text
/// x ← x + α (−x + W h + b + ξ_h + U (u + ξ_u) + extra)
/// h ← f(x)
/// ```
///
/// Rows of matrices are destinations, columns sources.
#[derive(Debug)]
pub struct RegionNetwork {
    config: LeakyConfig,
    layout: Layout,
    parameters: Parameters,
    numerics: Numerics,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    regions: RegionsConfig,
    /// What the names of the tensors begin with.
    prefix: &'static str,
    blocks: Vec<Block>,
    /// Columns of the input matrix.
    inputs: i64,
}

/// The weights of one connection.
#[derive(Clone, Debug)]
struct Block {
    connection: Connection,
    matrix: Matrix,
    rows: Range<i64>,
    columns: Range<i64>,
    sign: Sign,
    trainable: bool,
    /// Standard deviation of the initial weights.
    spread: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matrix {
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

    fn hidden(&self) -> i64 {
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

impl RegionNetwork {
    /// A network with initial weights drawn from `seed`. In `config`, which must be valid, `hidden` and `inputs` give
    /// way to `regions` where there are any.
    pub fn new(config: LeakyConfig, prefix: &'static str, seed: u64, numerics: Numerics) -> Self {
        let layout = Layout::new(&config, prefix);
        let slots = layout.slots(config.constrained);
        let network = Self {
            parameters: Parameters::drawn(slots, seed, 0, numerics),
            config,
            layout,
            numerics,
        };
        if let Some(radius) = network.config.spectral_radius {
            network.scale_to(radius);
        }
        network
    }

    /// A network with the weights of a state dict, of which it takes what it needs.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or precision, or not finite.
    pub fn from_state(
        config: LeakyConfig,
        prefix: &'static str,
        state: &TensorTable,
        numerics: Numerics,
    ) -> Result<Self, CheckpointError> {
        let layout = Layout::new(&config, prefix);
        let slots = layout.slots(config.constrained);
        Ok(Self {
            parameters: Parameters::loaded(slots, state, numerics)?,
            config,
            layout,
            numerics,
        })
    }

    /// The tensors that a network has, in the order of their registration.
    pub(super) fn slots(config: &LeakyConfig, prefix: &'static str) -> Vec<Slot> {
        Layout::new(config, prefix).slots(config.constrained)
    }

    /// All tensors of the state dict with their names.
    pub fn named_parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.named()
    }

    /// The tensors that training changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.parameters.trainable()
    }

    pub fn config(&self) -> &LeakyConfig {
        &self.config
    }

    pub(super) fn numerics(&self) -> Numerics {
        self.numerics
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(super) fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Scales all recurrent blocks so that the largest absolute eigenvalue of W becomes `radius`. A W without
    /// eigenvalues other than 0 stays.
    fn scale_to(&self, radius: f64) {
        let matrix = self.recurrent_matrix().detach().to_device(tch::Device::Cpu);
        let eigenvalues = matrix.to_kind(tch::Kind::Double).linalg_eigvals();
        let present = eigenvalues.abs().max().double_value(&[]);
        let factor = radius / present;
        if factor.is_finite() {
            let recurrent = self
                .layout
                .blocks
                .iter()
                .filter(|block| block.matrix == Matrix::Recurrent);
            for block in recurrent {
                let name = format!("{}{}", self.layout.prefix, block.connection.name());
                self.parameters.scale(&name, factor);
            }
        }
    }

    /// W as it acts, `[hidden, hidden]`, differentiable.
    pub fn recurrent_matrix(&self) -> Tensor {
        self.assemble(Matrix::Recurrent, self.layout.hidden())
    }

    /// U as it acts, `[hidden, input]`, differentiable.
    pub fn input_matrix(&self) -> Tensor {
        let matrix = self.assemble(Matrix::Input, self.layout.inputs);
        match self.config.inputs.column_mask() {
            Some(mask) => matrix * self.numerics.tensor(&mask, &[self.layout.inputs]),
            None => matrix,
        }
    }

    /// b, the tonic input of every unit, `[hidden]`, differentiable where it is learnable.
    pub fn base_firing(&self) -> Tensor {
        let regions = self.layout.regions.recurrent.iter().map(|region| {
            let name = format!("{}{}{FIRING}", self.layout.prefix, region.name);
            match self.parameters.get(&name) {
                Some(learnable) => learnable.shallow_clone(),
                None => self.numerics.ones(&[region.units as i64]) * region.base_firing,
            }
        });
        joined(regions.collect(), 0)
    }

    /// Blocks side by side and one below the other, zeros where there is no connection.
    fn assemble(&self, matrix: Matrix, columns: i64) -> Tensor {
        let rows = self.layout.regions.recurrent.iter().map(|region| {
            let into = |block: &&Block| block.matrix == matrix && block.connection.dst == region.name;
            let mut blocks: Vec<&Block> = self.layout.blocks.iter().filter(into).collect();
            blocks.sort_by_key(|block| block.columns.start);
            let nothing = |from: i64, to: i64| {
                (to > from).then(|| self.numerics.zeros(&[region.units as i64, to - from]))
            };
            let (mut row, mut filled) = (Vec::new(), 0);
            for block in blocks {
                row.extend(nothing(filled, block.columns.start));
                row.push(self.effective(block));
                filled = block.columns.end;
            }
            row.extend(nothing(filled, columns));
            joined(row, 1)
        });
        joined(rows.collect(), 0)
    }

    /// A block as it acts: mask ∘ |W| ∘ signs where constrained, else mask ∘ W, or W alone where masks are ignored.
    fn effective(&self, block: &Block) -> Tensor {
        let part = |suffix: &str| {
            let name = format!("{}{}{suffix}", self.layout.prefix, block.connection.name());
            self.parameters.expect(&name)
        };
        if self.config.constrained {
            part(MASK) * part("").abs() * part(SIGN)
        } else if self.config.ignore_masks {
            part("").shallow_clone()
        } else {
            part("") * part(MASK)
        }
    }
}

/// Tensors joined along a dimension; a single one as it is.
fn joined(mut parts: Vec<Tensor>, dimension: i64) -> Tensor {
    if parts.len() == 1 {
        parts.swap_remove(0)
    } else {
        Tensor::cat(&parts, dimension)
    }
}

/// [`RegionNetwork`] with transposed effective matrices, ready for many steps.
#[derive(Debug)]
pub struct RunningUnits {
    activation: Activation,
    alpha: f64,
    hidden_noise: f64,
    input_noise: f64,
    /// Wᵀ.
    recurrent: Tensor,
    /// Uᵀ.
    input: Tensor,
    base_firing: Tensor,
    /// x at the start, `[hidden]`.
    initial_x: Tensor,
}

impl RegionNetwork {
    /// The network made ready to be called many times with its present weights.
    pub fn prepare(&self) -> RunningUnits {
        let alpha = self.config.alpha();
        let noise_scale = (2.0 / alpha).sqrt();
        let regions = &self.layout.regions.recurrent;
        let initial_x: Vec<f64> = regions
            .iter()
            .flat_map(|region| vec![region.initial_x; region.units])
            .collect();
        RunningUnits {
            activation: self.config.activation,
            alpha,
            hidden_noise: noise_scale * self.config.hidden_noise,
            input_noise: noise_scale * self.config.input_noise,
            recurrent: self.recurrent_matrix().tr(),
            input: self.input_matrix().tr(),
            base_firing: self.base_firing(),
            initial_x: self.numerics.tensor(&initial_x, &[-1]),
        }
    }

    /// Runs a whole sequence of inputs from a given state.
    ///
    /// Shapes: `input` `[T, batch, input]`; `state` `[batch, hidden]` each; every array of `extra`, an additive input
    /// to the units, `[T, batch, hidden]`. Returns x and h after each step, `[T, batch, hidden]`.
    pub fn sequence(
        &self,
        input: &Tensor,
        state: &UnitState,
        extra: &[Tensor],
        noise: Option<&UnitNoise>,
    ) -> (Tensor, Tensor) {
        let units = self.prepare();
        let drive = extra
            .iter()
            .fold(units.drive(input, noise), |drive, extra| drive + extra);
        let (mut x, mut h) = (Vec::new(), Vec::new());
        let mut state = UnitState {
            x: state.x.shallow_clone(),
            h: state.h.shallow_clone(),
        };
        for drive in drive.unbind(0) {
            state = units.step(&state, &drive);
            x.push(state.x.shallow_clone());
            h.push(state.h.shallow_clone());
        }
        (Tensor::stack(&x, 0), Tensor::stack(&h, 0))
    }
}

impl RunningUnits {
    /// x as the regions begin and h = 0, `[rows, hidden]`. h starts at 0 also where f(x) is not.
    pub fn start(&self, rows: i64) -> UnitState {
        let x = self.initial_x.repeat([rows, 1]);
        UnitState { h: x.zeros_like(), x }
    }

    /// U (u + ξ_u) + b + ξ_h.
    ///
    /// Shapes: `input` `[step, batch, input]`; returns `[step, batch, hidden]`.
    pub fn drive(&self, input: &Tensor, noise: Option<&UnitNoise>) -> Tensor {
        let size = input.size();
        let rows = |tensor: &Tensor| tensor.reshape([size[0] * size[1], -1]);
        let drive = match noise {
            None => self.base_firing.addmm(&rows(input), &self.input),
            Some(noise) => {
                let input = input + &noise.input * self.input_noise;
                let hidden = &noise.hidden * self.hidden_noise + &self.base_firing;
                rows(&hidden).addmm(&rows(&input), &self.input)
            }
        };
        drive.reshape([size[0], size[1], -1])
    }

    /// One step, with everything that enters the units from outside in `drive`, `[batch, hidden]`.
    pub fn step(&self, old: &UnitState, drive: &Tensor) -> UnitState {
        self.settle(old, &drive.addmm(&old.h, &self.recurrent))
    }

    /// One step with the last columns of the input matrix fed apart from `drive`: `feedback` `[batch, 14]`, with
    /// `weights` from [`last_inputs`](Self::last_inputs).
    pub(super) fn step_with(
        &self,
        old: &UnitState,
        drive: &Tensor,
        feedback: &Tensor,
        weights: &Tensor,
    ) -> UnitState {
        self.settle(
            old,
            &drive.addmm(&old.h, &self.recurrent).addmm(feedback, weights),
        )
    }

    fn settle(&self, old: &UnitState, input: &Tensor) -> UnitState {
        let x = old.x.lerp(input, self.alpha);
        UnitState {
            h: self.activation.apply(&x),
            x,
        }
    }

    /// The last `count` columns of U, transposed.
    pub(super) fn last_inputs(&self, count: i64) -> Tensor {
        self.input.narrow(0, self.input.size()[0] - count, count)
    }
}
