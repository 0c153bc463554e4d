//! The zip archive: one folder with `data.pkl` and `data/<storage>`, entries as they are, within bounds.

use std::io::{Cursor, Read as _};

use zip::{CompressionMethod, ZipArchive};

use super::PthError;

/// Pickles of networks take a few kilobytes.
const MAX_PICKLE_BYTES: u64 = 8 << 20;

/// What a file begins with that `torch.save` wrote before it wrote archives: a pickled number.
const LEGACY_MAGIC: [u8; 14] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];

/// An archive that is held in memory.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Folder that everything lies in, with its slash.
    folder: String,
    file_bytes: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, PthError> {
        if bytes.starts_with(&LEGACY_MAGIC) {
            return Err(PthError::Legacy);
        }
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| PthError::Archive(format!("no readable zip archive ({error})")))?;
        let pickles: Vec<_> = zip
            .file_names()
            .filter_map(Result::ok)
            .filter(|name| name.matches('/').count() == 1 && name.ends_with("/data.pkl"))
            .collect();
        let folder = match pickles.as_slice() {
            [pickle] => pickle.trim_end_matches("data.pkl").to_owned(),
            [] => return Err(PthError::Archive("the archive holds no data.pkl".to_owned())),
            _ => return Err(PthError::Archive("the archive holds several data.pkl".to_owned())),
        };
        let mut archive = Self {
            zip,
            folder,
            file_bytes: bytes.len() as u64,
        };
        archive.require_little_endian()?;
        Ok(archive)
    }

    fn require_little_endian(&mut self) -> Result<(), PthError> {
        let name = format!("{}byteorder", self.folder);
        // Files of older PyTorch do not say; they come from little-endian machines.
        if self.zip.index_for_name(&name).is_none() || self.entry("byteorder", 16)? == b"little" {
            return Ok(());
        }
        Err(PthError::Archive("its numbers are big-endian".to_owned()))
    }

    pub(super) fn pickle(&mut self) -> Result<Vec<u8>, PthError> {
        self.entry("data.pkl", MAX_PICKLE_BYTES)
    }

    /// Bytes of a storage.
    pub(super) fn storage(&mut self, key: &str) -> Result<Vec<u8>, PthError> {
        self.entry(&format!("data/{key}"), self.file_bytes)
    }

    /// An entry of the folder: not compressed, so that it cannot be larger than the file; its checksum is checked.
    fn entry(&mut self, name: &str, most_bytes: u64) -> Result<Vec<u8>, PthError> {
        let refused = |problem: String| PthError::Archive(format!("entry `{name}` {problem}"));
        let mut entry = self
            .zip
            .by_name(&format!("{}{name}", self.folder))
            .map_err(|error| refused(format!("cannot be read ({error})")))?;
        if entry.compression() != CompressionMethod::Stored || entry.compressed_size() != entry.size() {
            return Err(refused("is compressed, which PyTorch never does".to_owned()));
        }
        let most_bytes = most_bytes.min(self.file_bytes);
        if entry.size() > most_bytes {
            return Err(refused(format!(
                "has {} bytes, more than {most_bytes}",
                entry.size()
            )));
        }
        let mut bytes = Vec::new();
        entry
            .by_ref()
            .take(most_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| refused(format!("cannot be read ({error})")))?;
        Ok(bytes)
    }
}
