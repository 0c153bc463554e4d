//! PyTorch's checkpoint files, `.pth`: read without PyTorch and without ever running what they say, and written so
//! that PyTorch takes them as they are.
//!
//! Such a file is a zip archive of stored (not compressed) entries: a pickle that describes nested dictionaries, and
//! the bytes of each tensor's storage. A pickle is a program; [`pickle`] carries out only the instructions that
//! build plain values, and knows only the few names that a checkpoint of tensors needs. Everything else is refused by
//! name before anything is built.
//!
//! The family's files hold `{agent_state_dict, optimizer_state_dict}`; a bare state dict is understood too.

mod archive;
mod optimizer;
mod pickle;
mod tensor;
mod write;

use std::path::Path;

use self::archive::Archive;
use self::pickle::{Pickle, Value};
use crate::host_tensor::{HostTensor, TensorTable};

/// What a `.pth` file holds, in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct PthFile {
    /// State dict, in the order in which the module registered its tensors.
    pub state: Vec<(String, HostTensor)>,
    pub adam: Option<AdamState>,
}

/// State of an Adam optimizer over all tensors of a state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamState {
    pub learning_rate: f64,
    /// Updates so far.
    pub step: u64,
    /// `first.<parameter>` and `second.<parameter>`, for the parameters that have been updated.
    pub moments: TensorTable,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PthError {
    #[error(
        "the file was written in the format that PyTorch used before 1.6: load it with a newer PyTorch and save it again"
    )]
    Legacy,
    #[error("not a PyTorch checkpoint: {0}")]
    Archive(String),
    #[error("the pickle names `{0}`: a checkpoint of tensors needs no such thing, and nothing was executed")]
    Forbidden(String),
    #[error("the pickle uses instruction {0}, which no checkpoint of tensors needs")]
    Instruction(String),
    #[error("the pickle is damaged: {0}")]
    Pickle(String),
    #[error("tensor `{name}` {problem}")]
    Tensor { name: String, problem: String },
    #[error("the file holds no state dict: {0}")]
    NoStateDict(String),
    #[error("the optimizer's state cannot be used: {0}")]
    Optimizer(String),
    #[error("the file cannot be written: {0}")]
    Write(String),
}

impl PthFile {
    /// # Errors
    /// When the bytes are no such file, are damaged, or name anything but tensors in plain containers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PthError> {
        let mut archive = Archive::open(bytes)?;
        let pickle = Pickle::read(&archive.pickle()?)?;
        let mut tensors = tensor::Reader::new(&mut archive, bytes.len());
        let entry = |name: &str| pickle.entry(pickle.root(), name);
        let (agent, optimizer) = match entry("agent_state_dict") {
            Some(agent) => (agent, entry("optimizer_state_dict")),
            None => (pickle.root(), None),
        };
        let state = state_dict(&pickle, agent, &mut tensors)?;
        let adam = match optimizer {
            None | Some(Value::None) => None,
            Some(optimizer) => optimizer::read(&pickle, optimizer, &state, &mut tensors)?,
        };
        Ok(Self { state, adam })
    }

    /// The file's bytes, as `torch.load(…, weights_only=True)` reads them: `{agent_state_dict,
    /// optimizer_state_dict}`, the latter only with an optimizer's state.
    ///
    /// # Errors
    /// When the tensors cannot be expressed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PthError> {
        write::archive(self)
    }

    /// The state dict by name.
    pub fn table(&self) -> TensorTable {
        self.state.iter().cloned().collect()
    }
}

/// Reads a dictionary of tensors.
fn state_dict(
    pickle: &Pickle,
    value: &Value,
    tensors: &mut tensor::Reader<'_, '_>,
) -> Result<Vec<(String, HostTensor)>, PthError> {
    let Some(entries) = pickle.dict(value) else {
        return Err(PthError::NoStateDict(
            "its outermost value is no dictionary".to_owned(),
        ));
    };
    let mut state: Vec<(String, HostTensor)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let Value::Text(name) = key else {
            return Err(PthError::NoStateDict("a key is no text".to_owned()));
        };
        let Value::Tensor(view) = value else {
            return Err(PthError::NoStateDict(format!("`{name}` is no tensor")));
        };
        state.push((name.to_string(), tensors.read(name, pickle, pickle.view(*view))?));
    }
    if state.is_empty() {
        return Err(PthError::NoStateDict("it is empty".to_owned()));
    }
    Ok(state)
}

/// Whether a file's name says that it is PyTorch's.
pub fn is_pth(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("pth") || extension.eq_ignore_ascii_case("pt")
    })
}

#[cfg(test)]
mod tests;
