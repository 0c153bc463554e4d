//! Leaky units ready to run: a step is a few operations on transposed effective matrices.

use tch::Tensor;

use super::{Activation, UnitNoise, UnitState};

/// [`RegionNetwork`](super::RegionNetwork) with transposed effective matrices, ready for many steps.
#[derive(Debug)]
pub struct RunningUnits {
    pub(super) activation: Activation,
    pub(super) alpha: f64,
    /// √(2/α) σ_h.
    pub(super) hidden_noise: f64,
    /// √(2/α) σ_u.
    pub(super) input_noise: f64,
    /// Wᵀ.
    pub(super) recurrent: Tensor,
    /// Uᵀ.
    pub(super) input: Tensor,
    pub(super) base_firing: Tensor,
    /// x at the start, `[hidden]`.
    pub(super) initial_x: Tensor,
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
