//! Recurrent networks of several regions: weight blocks, and the matrices that they make up.

use std::ops::Range;

use tch::Tensor;

use super::layout::{Block, Layout, Matrix};
use super::parameters::{Parameters, Slot};
use super::parts::{Bounded, Part, Whole};
use super::regions::{FIRING, MASK, SIGN};
use super::{Bounds, LeakyConfig, RunningUnits, UnitNoise, UnitState};
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

    /// A block as it acts: mask ∘ |W| ∘ signs where constrained, with |W| clipped to its bounds where it has any, else mask ∘ W, or W alone where masks are ignored.
    fn effective(&self, block: &Block) -> Tensor {
        let part = |suffix: &str| {
            let name = format!("{}{}{suffix}", self.layout.prefix, block.connection.name());
            self.parameters.expect(&name)
        };
        if self.config.constrained {
            let bounds = match block.matrix {
                Matrix::Recurrent => self.config.recurrent_bounds,
                Matrix::Input | Matrix::Unused => self.config.input_bounds,
            };
            let magnitude = part("").abs();
            let bounded = match bounds {
                Some(Bounds { lower, upper }) => magnitude.clamp(lower, upper),
                None => magnitude,
            };
            part(MASK) * bounded * part(SIGN)
        } else if self.config.ignore_masks {
            part("").shallow_clone()
        } else {
            part("") * part(MASK)
        }
    }

    /// What W, U and b are made of: as [`recurrent_matrix`](Self::recurrent_matrix), [`input_matrix`](Self::input_matrix)
    /// and [`base_firing`](Self::base_firing) put them together, but as a list.
    pub(super) fn parts(&self) -> Vec<Part> {
        let column_mask = self.config.inputs.column_mask();
        let of_blocks = self.layout.blocks.iter().filter_map(|block| {
            let name = |suffix: &str| format!("{}{}{suffix}", self.layout.prefix, block.connection.name());
            let (whole, bounded) = match block.matrix {
                Matrix::Recurrent => (Whole::Recurrent, Bounded::Recurrent),
                Matrix::Input => (Whole::Input, Bounded::Input),
                Matrix::Unused => return None,
            };
            let mask = self.parameters.expect(&name(MASK));
            let factor = if self.config.constrained {
                mask * self.parameters.expect(&name(SIGN))
            } else if self.config.ignore_masks {
                mask.ones_like()
            } else {
                mask.shallow_clone()
            };
            let factor = match &column_mask {
                Some(mask) if whole == Whole::Input => {
                    let mask = self.numerics.tensor(mask, &[self.layout.inputs]);
                    let columns = &block.columns;
                    factor * mask.narrow(0, columns.start, columns.end - columns.start)
                }
                _ => factor,
            };
            Some(Part {
                whole,
                rows: block.rows.clone(),
                columns: block.columns.clone(),
                name: name(""),
                factor,
                bounded: self.config.constrained.then_some(bounded),
            })
        });
        let mut start = 0;
        let of_regions = self.layout.regions.recurrent.iter().filter_map(|region| {
            let rows = start..start + region.units as i64;
            start = rows.end;
            let name = format!("{}{}{FIRING}", self.layout.prefix, region.name);
            let tensor = self.parameters.get(&name)?;
            Some(Part::as_it_is(Whole::BaseFiring, rows, 0..1, name, tensor))
        });
        of_blocks.chain(of_regions).collect()
    }

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

    /// Where the units of a region are, or those of every region with the given parent, in order.
    ///
    /// # Errors
    /// [`UnknownRegion`] with the names there are.
    pub fn units_of(&self, name: &str) -> Result<Vec<Range<i64>>, UnknownRegion> {
        let mut units = Vec::new();
        let mut start = 0;
        for region in &self.layout.regions.recurrent {
            let end = start + region.units as i64;
            if region.name == name || region.parent.as_deref() == Some(name) {
                units.push(start..end);
            }
            start = end;
        }
        if units.is_empty() {
            return Err(UnknownRegion {
                name: name.to_owned(),
                known: self.names(),
            });
        }
        Ok(units)
    }

    /// The part of an activity `[…, hidden]` that belongs to a region, or to the regions of a parent.
    ///
    /// # Errors
    /// [`UnknownRegion`].
    pub fn activity_of(&self, activity: &Tensor, name: &str) -> Result<Tensor, UnknownRegion> {
        Ok(picked(activity, -1, &self.units_of(name)?))
    }

    /// The part of W that leads from one region or parent to another.
    ///
    /// # Errors
    /// [`UnknownRegion`].
    pub fn recurrent_block(&self, dst: &str, src: &str) -> Result<Tensor, UnknownRegion> {
        let rows = picked(&self.recurrent_matrix(), 0, &self.units_of(dst)?);
        Ok(picked(&rows, 1, &self.units_of(src)?))
    }

    /// Names that can be picked: regions, then parents.
    fn names(&self) -> Vec<String> {
        let regions = &self.layout.regions.recurrent;
        let mut names: Vec<String> = regions.iter().map(|region| region.name.clone()).collect();
        for parent in regions.iter().filter_map(|region| region.parent.as_ref()) {
            if !names.contains(parent) {
                names.push(parent.clone());
            }
        }
        names
    }
}

/// No region and no parent has this name.
#[derive(Debug, thiserror::Error)]
#[error("region `{name}` is unknown: there are {}", known.join(", "))]
pub struct UnknownRegion {
    pub name: String,
    pub known: Vec<String>,
}

/// Stretches of a tensor, joined.
fn picked(tensor: &Tensor, dimension: i64, stretches: &[Range<i64>]) -> Tensor {
    let parts = stretches
        .iter()
        .map(|stretch| tensor.narrow(dimension, stretch.start, stretch.end - stretch.start));
    joined(parts.collect(), dimension)
}

/// Tensors joined along a dimension; a single one as it is.
fn joined(mut parts: Vec<Tensor>, dimension: i64) -> Tensor {
    if parts.len() == 1 {
        parts.swap_remove(0)
    } else {
        Tensor::cat(&parts, dimension)
    }
}
