//! From a view of a storage to a tensor's own numbers, row by row.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::PthError;
use super::archive::Archive;
use super::pickle::{Element, Pickle, View};
use crate::host_tensor::HostTensor;

/// Tensors may share storages, each named by a few bytes: together they may be this many times the file's size.
const MOST_TIMES_THE_FILE: usize = 8;

/// Reads tensors of an archive. Storages are read once.
pub(super) struct Reader<'a, 'b> {
    archive: &'b mut Archive<'a>,
    storages: BTreeMap<String, Vec<u8>>,
    /// Bytes that tensors may still take.
    left: usize,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(archive: &'b mut Archive<'a>, file_bytes: usize) -> Self {
        Self {
            archive,
            storages: BTreeMap::new(),
            left: file_bytes.saturating_mul(MOST_TIMES_THE_FILE),
        }
    }

    pub(super) fn read(&mut self, name: &str, pickle: &Pickle, view: &View) -> Result<HostTensor, PthError> {
        let refused = |problem: String| PthError::Tensor {
            name: name.to_owned(),
            problem,
        };
        let storage = pickle.storage(view.storage);
        let width = width(storage.element);
        let elements = extent(view, storage.length).map_err(|problem| refused(problem.to_owned()))?;
        self.left = elements
            .checked_mul(width)
            .and_then(|bytes| self.left.checked_sub(bytes))
            .ok_or_else(|| refused("is larger than its file can account for".to_owned()))?;
        let key = &*storage.key;
        if !self.storages.contains_key(key) {
            self.storages.insert(key.to_owned(), self.archive.storage(key)?);
        }
        let bytes = &self.storages[key];
        if storage.length.checked_mul(width) != Some(bytes.len()) {
            return Err(refused(format!(
                "lies in a storage of {} elements that has {} bytes",
                storage.length,
                bytes.len()
            )));
        }
        let numbers = gather(view, elements, width, bytes);
        let (dtype, numbers) = match storage.element {
            Element::F32 => (Dtype::F32, numbers),
            Element::F64 => (Dtype::F64, numbers),
            Element::I64 => (Dtype::I64, numbers),
            // Masks: 0 and 1.
            Element::Bool => {
                let as_number = |&byte: &u8| f32::from(u8::from(byte != 0)).to_le_bytes();
                (Dtype::F32, numbers.iter().flat_map(as_number).collect())
            }
        };
        HostTensor::from_bytes(dtype, view.shape.clone(), numbers)
            .ok_or_else(|| refused("does not fill its shape".to_owned()))
    }
}

fn width(element: Element) -> usize {
    match element {
        Element::F32 => 4,
        Element::F64 | Element::I64 => 8,
        Element::Bool => 1,
    }
}

/// Number of elements of a view, which must lie within its storage.
fn extent(view: &View, storage_length: usize) -> Result<usize, &'static str> {
    const OUTSIDE: &str = "reaches beyond its storage";
    if view.shape.len() != view.strides.len() {
        return Err("has shape and strides of different lengths");
    }
    let elements = view.shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
    let elements = elements.ok_or(OUTSIDE)?;
    if elements == 0 {
        return Ok(0);
    }
    let last = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |last, (&n, &stride)| {
            last.checked_add(stride.checked_mul(n - 1)?)
        });
    match last {
        Some(last) if last < storage_length => Ok(elements),
        _ => Err(OUTSIDE),
    }
}

/// Copies a view's elements, the last dimension fastest. The view lies within the storage.
fn gather(view: &View, elements: usize, width: usize, storage: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::with_capacity(elements * width);
    let mut index = vec![0; view.shape.len()];
    let mut place = view.offset;
    for _ in 0..elements {
        numbers.extend_from_slice(&storage[place * width..][..width]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            place += view.strides[axis];
            if index[axis] < view.shape[axis] {
                break;
            }
            place -= index[axis] * view.strides[axis];
            index[axis] = 0;
        }
    }
    numbers
}
