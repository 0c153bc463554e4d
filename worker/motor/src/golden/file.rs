//! A file of reference tensors: what it holds, under which conditions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tch::{Kind, Tensor};

use super::{FileError, literal};
use crate::device::Numerics;
use crate::host_tensor::{self, HostTensor, TensorTable};
use crate::policy::{
    Activation, CONDITION_INPUTS, GruConfig, InputLayout, LeakyConfig, NetworkConfig, Policy,
};
use crate::tasks::{Mode, Task, TrialConditions, delay_steps};

pub(super) struct GoldenFile {
    pub(super) name: String,
    tensors: TensorTable,
    metadata: BTreeMap<String, String>,
    /// Tensors that somebody asked for.
    used: RefCell<BTreeSet<String>>,
}

impl GoldenFile {
    pub(super) fn read(dir: &Path, name: &str) -> Result<Self, FileError> {
        let bytes = std::fs::read(dir.join(format!("{name}.safetensors")))?;
        let (tensors, metadata) = host_tensor::decode(&bytes)?;
        Ok(Self {
            name: name.to_owned(),
            tensors,
            metadata,
            used: RefCell::default(),
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Tensors that nobody has asked for.
    pub(super) fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        self.names().filter(|name| !used.contains(*name)).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A reference as it is stored.
    pub(super) fn reference(&self, name: &str) -> Result<Tensor, FileError> {
        let stored = self
            .tensors
            .get(name)
            .ok_or_else(|| FileError::MissingTensor(name.to_owned()))?;
        self.used.borrow_mut().insert(name.to_owned());
        Ok(stored.to_tensor())
    }

    /// A tensor to compute with.
    pub(super) fn input(&self, name: &str, numerics: Numerics) -> Result<Tensor, FileError> {
        Ok(self
            .reference(name)?
            .to_kind(numerics.kind())
            .to_device(numerics.device()))
    }

    /// A tensor to compute with, of a given number of dimensions.
    pub(super) fn input_of<const N: usize>(
        &self,
        name: &str,
        numerics: Numerics,
    ) -> Result<(Tensor, [i64; N]), FileError> {
        let tensor = self.input(name, numerics)?;
        match <[i64; N]>::try_from(tensor.size()) {
            Ok(size) => Ok((tensor, size)),
            Err(shape) => Err(FileError::Shape {
                name: name.to_owned(),
                shape,
            }),
        }
    }

    /// Names of tensors below a prefix, without it.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.names().filter_map(move |name| name.strip_prefix(prefix))
    }

    pub(super) fn metadata(&self, key: &str) -> Result<&str, FileError> {
        self.metadata
            .get(key)
            .map(String::as_str)
            .ok_or_else(|| FileError::MissingMetadata(key.to_owned()))
    }

    /// A metadata entry that is written as a Python literal.
    pub(super) fn literal<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, FileError> {
        let value = self.metadata(key)?;
        let understood = literal::parse(value).and_then(|value| serde_json::from_value(value).ok());
        understood.ok_or_else(|| FileError::Metadata {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    /// The same, with a value for files that do not say.
    fn literal_or<T: serde::de::DeserializeOwned>(&self, key: &str, otherwise: T) -> Result<T, FileError> {
        if self.metadata.contains_key(key) {
            self.literal(key)
        } else {
            Ok(otherwise)
        }
    }

    /// Task, mode, speed, delay and directions of a closed-loop file.
    pub(super) fn conditions(&self) -> Result<TrialConditions, FileError> {
        let testing: bool = self.literal("testing")?;
        Ok(TrialConditions {
            task: self.task()?,
            mode: if testing { Mode::Test } else { Mode::Train },
            speed: self.literal("speed_cond")?,
            delay_steps: delay_steps(self.literal("delay_cond")?)?,
            directions: self.literal("reach_conds")?,
            backward_directions: None,
        })
    }

    /// The task under its name, or the pair of a forward and a backward motif.
    fn task(&self) -> Result<Task, FileError> {
        let name = match self.metadata("forward_key") {
            Ok(forward) => format!("{forward}+{}", self.metadata("backward_key")?),
            Err(_) => self.metadata("task")?.to_owned(),
        };
        Ok(name.parse()?)
    }

    /// The network under `param/`: its size from the tensors, its constants from the metadata where they are.
    pub(super) fn policy(&self, numerics: Numerics) -> Result<Policy, FileError> {
        const GATES: &str = "param/gru.weight_hh_l0";
        let config = if self.has(GATES) {
            NetworkConfig::Gru(GruConfig {
                hidden: self.columns(GATES)?,
                inputs: self.inputs("param/gru.weight_ih_l0")?,
            })
        } else {
            NetworkConfig::Leaky(self.leaky_config("param/")?)
        };
        Ok(Policy::from_state(
            &config,
            &self.table("param/", numerics)?,
            numerics,
        )?)
    }

    /// Constants of a single-region network whose tensors are below a prefix.
    pub(super) fn leaky_config(&self, prefix: &str) -> Result<LeakyConfig, FileError> {
        let hidden = self
            .reference(&format!("{prefix}mrnn.region_base_firing"))?
            .numel();
        let defaults = LeakyConfig::default();
        Ok(LeakyConfig {
            hidden,
            activation: self.activation()?,
            hidden_noise: self.literal_or("noise_level_act", defaults.hidden_noise)?,
            input_noise: self.literal_or("noise_level_inp", defaults.input_noise)?,
            dt_ms: self.literal_or("dt", defaults.dt_ms)?,
            time_constant_ms: self.literal_or("tau", defaults.time_constant_ms)?,
            inputs: self.inputs(&format!("{prefix}mrnn.input_region"))?,
            ..defaults
        })
    }

    /// Rule inputs: the columns of an input matrix before the condition inputs.
    fn inputs(&self, name: &str) -> Result<InputLayout, FileError> {
        match self.columns(name)?.checked_sub(CONDITION_INPUTS) {
            Some(rules) => Ok(InputLayout {
                rules,
                ..InputLayout::default()
            }),
            None => Err(FileError::Shape {
                name: name.to_owned(),
                shape: self.reference(name)?.size(),
            }),
        }
    }

    fn columns(&self, name: &str) -> Result<usize, FileError> {
        match self.reference(name)?.size().as_slice() {
            [_, columns] => Ok(usize::try_from(*columns).unwrap_or(0)),
            shape => Err(FileError::Shape {
                name: name.to_owned(),
                shape: shape.to_vec(),
            }),
        }
    }

    /// The tensors below a prefix, to compute with.
    pub(super) fn table(&self, prefix: &str, numerics: Numerics) -> Result<TensorTable, FileError> {
        let mut table = TensorTable::new();
        for name in self.below(prefix) {
            let tensor = self
                .reference(&format!("{prefix}{name}"))?
                .to_kind(numerics.kind());
            table.insert(name.to_owned(), HostTensor::from_tensor(&tensor));
        }
        Ok(table)
    }

    /// From the metadata, else from a part of the file's name (`rnn_<activation><hidden>`), else softplus.
    fn activation(&self) -> Result<Activation, FileError> {
        let known = |name: &str| serde_json::from_value::<Activation>(name.into()).ok();
        let from_name = || {
            let parts = self.name.split('_');
            parts
                .map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit()))
                .find_map(known)
        };
        match self.metadata.get("activation") {
            Some(name) => known(name).ok_or_else(|| FileError::Metadata {
                key: "activation".to_owned(),
                value: name.clone(),
            }),
            None => Ok(from_name().unwrap_or(Activation::Softplus)),
        }
    }

    /// Integers of an I64 tensor.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<usize>, FileError> {
        let tensor = self.reference(name)?;
        let shape = || FileError::Shape {
            name: name.to_owned(),
            shape: tensor.size(),
        };
        if tensor.kind() != Kind::Int64 {
            return Err(shape());
        }
        (0..tensor.numel() as i64)
            .map(|i| usize::try_from(tensor.reshape([-1]).int64_value(&[i])).map_err(|_| shape()))
            .collect()
    }
}
