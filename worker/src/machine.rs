//! What a worker tells about the machine it runs on.

use std::fs;
use std::process::Command;

use motif_motor::device::Device;
use motif_proto::worker::DeviceKind;

/// A device in words, and its memory in bytes where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// What kind it is.
    pub kind: DeviceKind,
    /// Its name.
    pub name: String,
    /// Its memory.
    pub memory_bytes: Option<u64>,
}

/// Looks a device up.
#[must_use]
pub fn facts(device: Device) -> DeviceFacts {
    match device {
        Device::Cpu => DeviceFacts {
            kind: DeviceKind::Cpu,
            name: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|text| kilobytes(&text)),
        },
        Device::Cuda(index) => {
            let (name, memory_bytes) = card(index).unwrap_or_else(|| (format!("CUDA device {index}"), None));
            DeviceFacts {
                kind: DeviceKind::Cuda,
                name,
                memory_bytes,
            }
        }
    }
}

/// How many runs a device takes at once when nobody says.
#[must_use]
pub fn default_slots(device: Device) -> u32 {
    match device {
        Device::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            u32::try_from(cores / 2).unwrap_or(1).max(1)
        }
        Device::Cuda(_) => 1,
    }
}

/// The machine's name.
#[must_use]
pub fn name() -> String {
    let named = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match named.trim() {
        "" => "worker".to_owned(),
        name => name.to_owned(),
    }
}

/// The first value of a field in a file of `name : value` lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// Bytes of a text such as `16304 kB`.
fn kilobytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// Name and memory of a card, from the driver's own tool.
fn card(index: usize) -> Option<(String, Option<u64>)> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
        .args(["--id", &index.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (name, mebibytes) = text.lines().next()?.rsplit_once(',')?;
    let memory = mebibytes
        .trim()
        .parse::<u64>()
        .ok()
        .map(|mebibytes| mebibytes << 20);
    Some((name.trim().to_owned(), memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kilobytes() {
        assert_eq!(kilobytes("16304 kB"), Some(16_695_296));
        assert_eq!(kilobytes("many"), None);
    }

    #[test]
    fn this_machine_has_a_name_a_slot_and_memory() {
        assert!(!name().is_empty());
        assert!(default_slots(Device::Cpu) >= 1);
        let facts = facts(Device::Cpu);
        assert!(!facts.name.is_empty() && facts.memory_bytes > Some(0));
    }
}
