//! Which device computes, and in which precision: chosen once and passed down.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::config::TrainingConfig;
use crate::engine::cuda::{CardError, driver};

/// Width of the numbers that everything is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F32,
    F64,
}

impl Precision {
    pub fn kind(self) -> Kind {
        match self {
            Precision::F32 => Kind::Float,
            Precision::F64 => Kind::Double,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        })
    }
}

impl FromStr for Precision {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "f32" => Ok(Precision::F32),
            "f64" => Ok(Precision::F64),
            _ => Err(DeviceError::UnknownPrecision(text.to_owned())),
        }
    }
}

/// `cpu`, `cuda` (the first card) or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    Cpu,
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice(text.to_owned());
        match text {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Device::Cuda).map_err(|_| unknown())
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("unknown device `{0}`: cpu, cuda or cuda:N")]
    UnknownDevice(String),
    #[error("unknown precision `{0}`: f32 or f64")]
    UnknownPrecision(String),
    #[error("no CUDA device can be used here: {0}")]
    CudaUnavailable(String),
    #[error("CUDA device {index} does not exist, there are {count}")]
    NoSuchCudaDevice { index: usize, count: usize },
}

impl From<CardError> for DeviceError {
    fn from(error: CardError) -> Self {
        match error {
            CardError::NoSuchCard { index, count } => DeviceError::NoSuchCudaDevice { index, count },
            other => DeviceError::CudaUnavailable(other.to_string()),
        }
    }
}

/// Precision and device of a computation, checked to be usable, and the constructors of tensors there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numerics {
    kind: Kind,
    device: tch::Device,
    threads: usize,
    /// The card that the fused engine computes on; the tensors stay with the processor.
    card: Option<usize>,
    rows_per_block: Option<usize>,
}

impl Numerics {
    /// For the fused engine, which keeps what it needs on a card by itself: tensors stay with the processor.
    /// [`for_reference`](Self::for_reference) moves them.
    ///
    /// # Errors
    /// When `device` is a CUDA card and the driver or the card is missing.
    pub fn new(precision: Precision, device: Device) -> Result<Self, DeviceError> {
        let card = match device {
            Device::Cpu => None,
            Device::Cuda(index) => {
                driver::facts(index)?;
                Some(index)
            }
        };
        Ok(Self {
            card,
            ..Self::cpu(precision)
        })
    }

    /// For the reference engine: on a card, all tensors are there.
    ///
    /// # Errors
    /// When libtorch's CUDA library is missing, or finds no such card.
    pub fn for_reference(self) -> Result<Self, DeviceError> {
        let Some(index) = self.card else {
            return Ok(self);
        };
        load_cuda_library()?;
        let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        if count == 0 {
            return Err(DeviceError::CudaUnavailable("libtorch finds no card".to_owned()));
        }
        if index >= count {
            return Err(DeviceError::NoSuchCudaDevice { index, count });
        }
        Ok(Self {
            device: tch::Device::Cuda(index),
            card: None,
            ..self
        })
    }

    /// For what a training's engine needs, if on a card: see [`TrainingConfig::has_kernels`].
    ///
    /// # Errors
    /// As [`for_reference`](Self::for_reference).
    pub fn for_training(self, config: &TrainingConfig) -> Result<Self, DeviceError> {
        if config.has_kernels() {
            Ok(self)
        } else {
            self.for_reference()
        }
    }

    /// Single or double precision on the CPU, which is always there.
    pub fn cpu(precision: Precision) -> Self {
        Self {
            kind: precision.kind(),
            device: tch::Device::Cpu,
            threads: 1,
            card: None,
            rows_per_block: None,
        }
    }

    /// The same with threads that share the work within an episode, where the engine can share it out without
    /// changing a result: see [`FusedEngine`](crate::engine::FusedEngine).
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            ..self
        }
    }

    pub fn threads(self) -> usize {
        self.threads
    }

    /// The card that the fused engine computes on.
    pub fn card(self) -> Option<usize> {
        self.card
    }

    /// The same with blocks of so many rows on a card: fewer fill it with one run, more are faster with many.
    #[must_use]
    pub fn with_rows_per_block(self, rows: Option<usize>) -> Self {
        Self {
            rows_per_block: rows,
            ..self
        }
    }

    pub fn rows_per_block(self) -> Option<usize> {
        self.rows_per_block
    }

    pub fn kind(self) -> Kind {
        self.kind
    }

    pub fn precision(self) -> Precision {
        if self.kind == Kind::Double {
            Precision::F64
        } else {
            Precision::F32
        }
    }

    pub fn device(self) -> tch::Device {
        self.device
    }

    /// Tensor of `shape` with the given values, row by row, rounded to the chosen precision.
    pub fn tensor<T: tch::kind::Element>(self, values: &[T], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values)
            .reshape(shape)
            .to_kind(self.kind)
            .to_device(self.device)
    }

    pub fn zeros(self, shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (self.kind, self.device))
    }

    pub fn ones(self, shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (self.kind, self.device))
    }

    /// Waits until the device has done what was asked of it, so that a clock can be read.
    pub fn synchronize(self) {
        if let tch::Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(i64::try_from(index).unwrap_or(0));
        }
    }
}

/// Loads libtorch's CUDA half, once, if it is installed.
///
/// The binary links only the CPU half, so that it starts on machines without CUDA; libtorch registers its
/// CUDA kernels when the library is loaded.
fn load_cuda_library() -> Result<(), DeviceError> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(open_cuda_library)
        .clone()
        .map_err(DeviceError::CudaUnavailable)
}

#[cfg(unix)]
#[allow(unsafe_code)] // Loading a library runs its initialisers; nothing in safe Rust can do it.
fn open_cuda_library() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: libtorch_cuda.so is the other half of the libtorch that this binary already links, found on the
    // same search path; its initialisers only register kernels. It stays loaded until the process ends.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    library.map(std::mem::forget).map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn open_cuda_library() -> Result<(), String> {
    Err("CUDA is supported on Linux only".to_owned())
}

/// Threads that libtorch uses within an operation, for the calling thread. One keeps results reproducible.
pub fn set_intra_op_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
        ] {
            let parsed: Device = text.parse().expect(text);
            assert_eq!(parsed, device);
            assert_eq!(parsed.to_string().parse::<Device>().expect(text), device);
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(
                matches!(text.parse::<Device>(), Err(DeviceError::UnknownDevice(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_cuda_card_is_a_typed_error() {
        let error = Numerics::new(Precision::F32, Device::Cuda(4096)).expect_err("there is no such card");
        assert!(
            matches!(
                error,
                DeviceError::CudaUnavailable(_) | DeviceError::NoSuchCudaDevice { .. }
            ),
            "{error}"
        );
    }
}
