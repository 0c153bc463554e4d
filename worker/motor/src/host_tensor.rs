//! Tensors as plain bytes in host memory: what is written to files and sent between threads.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, View};
use tch::{Kind, Tensor};

use crate::device::Numerics;

/// Numbers of a tensor, row by row, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Tensors by name.
pub type TensorTable = BTreeMap<String, HostTensor>;

/// A file holds a kind of number that is not used here.
#[derive(Debug, thiserror::Error)]
#[error("tensor `{name}` holds {dtype:?}; only F32, F64 and I64 are understood")]
pub struct UnsupportedKind {
    pub name: String,
    pub dtype: Dtype,
}

impl HostTensor {
    /// Copies a tensor from wherever it is.
    pub fn from_tensor(tensor: &Tensor) -> Self {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::Int64 => Dtype::I64,
            _ => Dtype::F64,
        };
        let tensor = tensor.to_kind(kind_of(dtype));
        let shape: Vec<usize> = tensor
            .size()
            .iter()
            .map(|&n| usize::try_from(n).unwrap_or(0))
            .collect();
        let mut bytes = vec![0; tensor.numel() * dtype.bitsize() / 8];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        Self { dtype, shape, bytes }
    }

    /// A tensor from its numbers, row by row, little-endian. `None` when they do not fill the shape.
    pub fn from_bytes(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n))?;
        let fills = elements.checked_mul(dtype.bitsize() / 8) == Some(bytes.len());
        let understood = matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::I64);
        (fills && understood).then_some(Self { dtype, shape, bytes })
    }

    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The numbers, row by row, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same numbers as another kind.
    pub(crate) fn in_kind(&self, kind: Kind) -> Self {
        if self.kind() == kind {
            return self.clone();
        }
        Self::from_tensor(&self.to_tensor().to_kind(kind))
    }

    /// A CPU tensor with the same numbers.
    pub fn to_tensor(&self) -> Tensor {
        Tensor::from_data_size(&self.bytes, &self.shape_i64(), kind_of(self.dtype))
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn shape_i64(&self) -> Vec<i64> {
        self.shape
            .iter()
            .map(|&n| i64::try_from(n).unwrap_or(i64::MAX))
            .collect()
    }

    pub fn kind(&self) -> Kind {
        kind_of(self.dtype)
    }

    fn from_view(name: &str, view: &TensorView<'_>) -> Result<Self, UnsupportedKind> {
        let dtype = view.dtype();
        if !matches!(dtype, Dtype::F32 | Dtype::F64 | Dtype::I64) {
            return Err(UnsupportedKind {
                name: name.to_owned(),
                dtype,
            });
        }
        Ok(Self {
            dtype,
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        })
    }
}

impl View for &HostTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::I64 => Kind::Int64,
        _ => Kind::Double,
    }
}

/// The tensors in the precision that is computed in: a base may come from elsewhere.
pub(crate) fn in_precision(state: &TensorTable, numerics: Numerics) -> TensorTable {
    let converted = |(name, tensor): (&String, &HostTensor)| (name.clone(), tensor.in_kind(numerics.kind()));
    state.iter().map(converted).collect()
}

/// Why bytes are not a safetensors file that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("not a safetensors file")]
    SafeTensors(#[from] SafeTensorError),
    #[error(transparent)]
    Kind(#[from] UnsupportedKind),
}

/// Tensors and metadata of a safetensors file. Lengths and offsets are checked before anything is copied.
///
/// # Errors
/// When the bytes are no such file, or hold kinds of numbers other than F32, F64 and I64.
pub fn decode(bytes: &[u8]) -> Result<(TensorTable, BTreeMap<String, String>), FormatError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut tensors = TensorTable::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
        tensors.insert(name.to_owned(), HostTensor::from_view(name, &view)?);
    }
    Ok((tensors, metadata))
}

/// The bytes of a safetensors file; equal tensors and metadata give equal bytes.
///
/// # Errors
/// When the table cannot be expressed as safetensors.
pub fn encode(tensors: &TensorTable, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, FormatError> {
    let plain = safetensors::serialize(tensors, None)?;
    if metadata.is_empty() {
        return Ok(plain);
    }
    // The library takes metadata in a hash map and writes it in that map's order, which differs from call to call.
    let (length, rest) = plain.split_at(LENGTH_BYTES);
    let length = length
        .iter()
        .rfold(0, |length, &byte| length << 8 | usize::from(byte));
    let (header, numbers) = rest.split_at(length);
    let entries = header.trim_ascii().strip_prefix(b"{").unwrap_or_default();
    let mut header =
        serde_json::to_vec(&BTreeMap::from([("__metadata__", metadata)])).map_err(SafeTensorError::from)?;
    header.pop();
    if entries != b"}" {
        header.push(b',');
    }
    header.extend(entries);
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + header.len() + numbers.len());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(numbers);
    Ok(bytes)
}

/// The header's length stands before it, and the header is padded to a multiple of it.
const LENGTH_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_are_equal_bytes_and_come_back() {
        let tensor = |values: &[f32]| HostTensor::from_tensor(&Tensor::from_slice(values));
        let tensors = TensorTable::from([
            ("b".to_owned(), tensor(&[1.0, 2.5])),
            ("a\"}{".to_owned(), tensor(&[])),
        ]);
        let words: BTreeMap<String, String> = (0..20)
            .map(|i| (format!("key {i}"), format!("{{\"{i}\": \"é\"}}")))
            .collect();
        for (tensors, words) in [
            (&tensors, &words),
            (&TensorTable::new(), &words),
            (&tensors, &BTreeMap::new()),
        ] {
            let bytes = encode(tensors, words).expect("written");
            assert_eq!(bytes, encode(tensors, words).expect("written"));
            let (read, told) = decode(&bytes).expect("read");
            assert_eq!((&read, &told), (tensors, words));
        }
    }
}
