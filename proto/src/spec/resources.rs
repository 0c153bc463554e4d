//! `[resources]`: what a run needs from its worker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::read::{Choice, Table};

/// The device that a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceNeed {
    /// Whatever is free.
    Any,
    /// Processor cores.
    Cpu,
    /// An NVIDIA card.
    Cuda,
}

impl DeviceNeed {
    /// The word used in SQL, on the wire and on pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl Choice for DeviceNeed {
    const ALL: &'static [Self] = &[Self::Any, Self::Cpu, Self::Cuda];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// What a run needs from its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResourcesSpec {
    /// The device.
    pub device: DeviceNeed,
    /// Slots of one worker.
    pub slots: u32,
    /// Memory of the device, in megabytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
}

impl ResourcesSpec {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            device: table.choice("device", DeviceNeed::Any),
            slots: table.integer("slots", 1..=1024, 1) as u32,
            memory_mb: table.optional_integer("memory_mb", 1..=100_000_000),
            labels: table.labels("labels", 32),
        }
    }
}
