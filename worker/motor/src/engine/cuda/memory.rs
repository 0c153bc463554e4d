//! A run's memory on a card, and how numbers get there and back.

use std::sync::Arc;

use tch::{Kind, Tensor};

use super::card::{Buffer, Card, CardError};
use super::plan::Plan;
use super::run::Run;
use super::shape::{ARM_SIZE, PARAMETER_GROUP, SUM_PARTS, Shape, bytes_of};
use crate::arm::MUSCLES;
use crate::device::Precision;

/// Numbers that the host reads, in the order of `kernels/learning.h`.
pub(super) const REPORT_SIZE: usize = 7;

/// What belongs to the network: lists, parameters with Adam's moments, matrices, sums.
#[derive(Debug)]
pub(super) struct OfNetwork {
    lists: [Buffer; 7],
    pub(super) parameter: Buffer,
    pub(super) first: Buffer,
    pub(super) second: Buffer,
    pub(super) gradient: Buffer,
    matrices: [Buffer; 3],
    sums: [Buffer; 5],
    pub(super) report: Buffer,
}

impl OfNetwork {
    pub(super) fn new(
        card: &Arc<dyn Card>,
        plan: &Plan,
        shape: &Shape,
        initial_x: &[f64],
        precision: Precision,
    ) -> Result<Self, CardError> {
        let real = |values: &[f64]| Buffer::of(card, &encoded(values, precision));
        let integer = |values: &[i32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Buffer::of(card, &bytes)
        };
        let size = bytes_of(precision);
        let room = |numbers: usize| Buffer::new(card, numbers * size);
        let (hidden, parameters) = (shape.hidden, plan.count());
        Ok(Self {
            lists: [
                integer(&plan.source)?,
                real(&plan.factor)?,
                integer(&plan.place)?,
                real(&plan.parameter_factor)?,
                integer(&plan.kind)?,
                real(&plan.share)?,
                real(initial_x)?,
            ],
            parameter: room(parameters)?,
            first: room(parameters)?,
            second: room(parameters)?,
            gradient: room(parameters)?,
            matrices: [
                room(shape.z_stride * shape.unit_stride)?,
                room(shape.unit_stride * shape.back_stride)?,
                room(MUSCLES * (hidden + 1))?,
            ],
            sums: [
                room(SUM_PARTS * 2 * hidden)?,
                room(SUM_PARTS * shape.slope_rows() * shape.z_stride)?,
                Buffer::new(card, parameters.div_ceil(PARAMETER_GROUP) * 2 * size_of::<f64>())?,
                room(hidden)?,
                room(hidden)?,
            ],
            report: Buffer::new(card, REPORT_SIZE * size_of::<f64>())?,
        })
    }

    pub(super) fn tell(&self, run: &mut Run) {
        [
            run.source,
            run.factor,
            run.place,
            run.parameter_factor,
            run.kind,
            run.share,
            run.initial_x,
        ] = self.lists.each_ref().map(Buffer::address);
        run.parameter = self.parameter.address();
        run.first = self.first.address();
        run.second = self.second.address();
        run.gradient = self.gradient.address();
        [run.entering, run.back, run.leaving] = self.matrices.each_ref().map(Buffer::address);
        [
            run.unit_sums,
            run.outer_sums,
            run.parameter_sums,
            run.unit_slopes,
            run.column_slopes,
        ] = self.sums.each_ref().map(Buffer::address);
        run.report = self.report.address();
    }
}

/// What belongs to an episode. Grows with the longest.
#[derive(Debug)]
pub(super) struct OfEpisode {
    pub(super) observations: Buffer,
    pub(super) goals: Buffer,
    pub(super) numbers: Buffer,
    pub(super) z: Buffer,
    pub(super) d: Buffer,
    pub(super) arms: Buffer,
    pub(super) excitations: Buffer,
    pub(super) fingertips: Buffer,
    row_sums: [Buffer; 2],
}

impl OfEpisode {
    pub(super) fn new(card: &Arc<dyn Card>) -> Result<Self, CardError> {
        let empty = || Buffer::new(card, 0);
        Ok(Self {
            observations: empty()?,
            goals: empty()?,
            numbers: empty()?,
            z: empty()?,
            d: empty()?,
            arms: empty()?,
            excitations: empty()?,
            fingertips: empty()?,
            row_sums: [empty()?, empty()?],
        })
    }

    /// Makes room for what `run` says of the episode.
    pub(super) fn reserve(&mut self, run: &mut Run, precision: Precision) -> Result<(), CardError> {
        let (rows, steps) = (run.rows as usize, run.steps as usize);
        let size = bytes_of(precision);
        let samples = (steps + 1) * rows;
        run.observations = self
            .observations
            .reserve(samples * run.observation as usize * size)?;
        run.goals = self.goals.reserve(samples * 2 * size)?;
        run.numbers = self.numbers.reserve(rows * size_of::<u32>())?;
        run.fingertips = self.fingertips.reserve(samples * 2 * size)?;
        run.position_sums = self.row_sums[0].reserve(rows * size)?;
        run.muscle_sums = self.row_sums[1].reserve(rows * size)?;
        if run.keep != 0 {
            run.z = self.z.reserve(samples * run.z_stride as usize * size)?;
            run.d = self.d.reserve(samples * run.d_stride as usize * size)?;
            run.arms = self.arms.reserve(samples * ARM_SIZE * size)?;
            run.excitations = self.excitations.reserve(samples * MUSCLES * size)?;
        }
        Ok(())
    }
}

/// Numbers as the card has them.
pub(super) fn encoded(values: &[f64], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::F32 => values
            .iter()
            .flat_map(|&value| (value as f32).to_le_bytes())
            .collect(),
        Precision::F64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// A tensor's numbers as the card has them. The tensor is of the card's precision.
pub(super) fn bytes_of_tensor(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    let count = tensor.numel();
    tensor.copy_data_u8(&mut bytes, count);
    bytes
}

/// A tensor of the card's numbers.
pub(super) fn tensor_of(bytes: &[u8], shape: &[i64], kind: Kind) -> Tensor {
    Tensor::from_data_size(bytes, shape, kind)
}
