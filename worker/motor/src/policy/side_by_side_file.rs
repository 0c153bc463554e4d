//! Networks side by side as a file: a safetensors state dict that says what it was made of.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{InputBlocks, LeakyConfig, LeakyPolicy, NetworkConfig, Policy, SideBySide, StitchError};
use crate::checkpoint::{Checkpoint, CheckpointError, read_bounded, write_atomically};
use crate::device::Numerics;
use crate::host_tensor;

/// One network among those put side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// What its file is called, its folder in front.
    pub name: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    pub hidden: usize,
    /// Batches that it was trained.
    pub batches: u64,
}

/// The `motif.side_by_side` entry of the file's metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    members: Vec<Member>,
    input_blocks: InputBlocks,
    network: LeakyConfig,
}

/// A [`SideBySide`] and what it was made of.
#[derive(Debug)]
pub struct SideBySideFile {
    pub network: SideBySide,
    pub members: Vec<Member>,
    pub input_blocks: InputBlocks,
}

const KEY: &str = "motif.side_by_side";
const FORMAT: u32 = 1;

impl SideBySideFile {
    /// Puts the networks of checkpoints side by side. A member's `hidden` and `batches` are the checkpoint's.
    ///
    /// # Errors
    /// When a checkpoint does not fit its own description, is gated, or does not go with the first one.
    pub fn stitch(
        checkpoints: Vec<(Member, Checkpoint)>,
        input_blocks: InputBlocks,
        numerics: Numerics,
    ) -> Result<Self, StitchError> {
        let (mut members, mut networks) = (Vec::new(), Vec::new());
        for (number, (member, checkpoint)) in checkpoints.into_iter().enumerate() {
            let network = &checkpoint.config.network;
            let Policy::Leaky(policy) = Policy::from_state(network, &checkpoint.state, numerics)? else {
                return Err(StitchError::NotPlain { member: number });
            };
            members.push(Member {
                hidden: policy.config().hidden,
                batches: checkpoint.next_batch,
                ..member
            });
            networks.push(policy);
        }
        let networks: Vec<&LeakyPolicy> = networks.iter().map(|policy| &**policy).collect();
        Ok(Self {
            network: SideBySide::stitch(&networks, input_blocks)?,
            members,
            input_blocks,
        })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When the tensors cannot be expressed as safetensors.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let stored = Stored {
            format: FORMAT,
            members: self.members.clone(),
            input_blocks: self.input_blocks,
            network: self.network.network().config().clone(),
        };
        let stored = serde_json::to_string(&stored).map_err(|source| damaged(source.into()))?;
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned()), (KEY.to_owned(), stored)]);
        Ok(host_tensor::encode(&self.network.state(), &metadata)?)
    }

    /// # Errors
    /// When the bytes are no such file; nothing in them is trusted.
    pub fn from_bytes(bytes: &[u8], numerics: Numerics) -> Result<Self, CheckpointError> {
        let (state, metadata) = host_tensor::decode(bytes)?;
        let stored = metadata.get(KEY).ok_or(CheckpointError::NotOurs { key: KEY })?;
        let stored: Stored = serde_json::from_str(stored).map_err(|source| damaged(source.into()))?;
        if stored.format != FORMAT {
            return Err(CheckpointError::Version { found: stored.format });
        }
        let config = NetworkConfig::Leaky(LeakyConfig {
            regions: None,
            hidden: 1,
            ..stored.network.clone()
        });
        config.validate().map_err(|source| damaged(source.into()))?;
        Ok(Self {
            network: SideBySide::from_state(&stored.network, &state, numerics)?,
            members: stored.members,
            input_blocks: stored.input_blocks,
        })
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn write_to(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = self.to_bytes()?;
        write_atomically(path, &bytes).map_err(|source| CheckpointError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// # Errors
    /// When the file cannot be read, is too large or is none of networks side by side.
    pub fn read_from(path: &Path, numerics: Numerics) -> Result<Self, CheckpointError> {
        Self::from_bytes(&read_bounded(path)?, numerics)
    }
}

fn damaged(source: Box<dyn std::error::Error + Send + Sync>) -> CheckpointError {
    CheckpointError::Metadata { key: KEY, source }
}
