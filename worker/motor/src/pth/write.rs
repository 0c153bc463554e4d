//! Writing what `torch.load` reads: the pickle of two dictionaries, and the storages of their tensors.

use std::borrow::Cow;
use std::io::{Cursor, Write as _};

use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{AdamState, PthError, PthFile};
use crate::host_tensor::HostTensor;

/// Folder of the archive; PyTorch takes any name.
const FOLDER: &str = "checkpoint";
/// PyTorch maps storages into memory where it can, which wants them aligned.
const ALIGNMENT: u16 = 64;

pub(super) fn archive(file: &PthFile) -> Result<Vec<u8>, PthError> {
    let mut pickler = Pickler::default();
    pickler.file(file);
    write(&pickler).map_err(|error| PthError::Write(error.to_string()))
}

fn write(pickler: &Pickler<'_>) -> Result<Vec<u8>, zip::result::ZipError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut entry = |name: &str, bytes: &[u8]| -> Result<(), zip::result::ZipError> {
        zip.start_file(format!("{FOLDER}/{name}"), options)?;
        Ok(zip.write_all(bytes)?)
    };
    entry("data.pkl", &pickler.bytes)?;
    entry("byteorder", b"little")?;
    for (key, bytes) in pickler.storages.iter().enumerate() {
        entry(&format!("data/{key}"), bytes)?;
    }
    entry("version", b"3\n")?;
    Ok(zip.finish()?.into_inner())
}

/// Writes the instructions that build the values (pickle protocol 2), and gathers the storages.
#[derive(Default)]
struct Pickler<'a> {
    bytes: Vec<u8>,
    storages: Vec<Cow<'a, [u8]>>,
}

impl<'a> Pickler<'a> {
    fn file(&mut self, file: &'a PthFile) {
        self.bytes.extend([0x80, 2]);
        self.dict(|pickler| {
            pickler.text("agent_state_dict");
            pickler.name("collections", "OrderedDict");
            pickler.bytes.extend(*b")R");
            pickler.entries(|pickler| {
                for (name, tensor) in &file.state {
                    pickler.text(name);
                    pickler.tensor(tensor);
                }
            });
            if let Some(adam) = &file.adam {
                pickler.text("optimizer_state_dict");
                pickler.optimizer(&file.state, adam);
            }
        });
        self.bytes.push(b'.');
    }

    /// As `torch.optim.Adam` writes it: all tensors of the state dict are its parameters, those that were never
    /// updated without a state.
    fn optimizer(&mut self, state: &'a [(String, HostTensor)], adam: &'a AdamState) {
        self.dict(|pickler| {
            pickler.text("state");
            pickler.dict(|pickler| {
                for (number, (name, _)) in state.iter().enumerate() {
                    let moment = |which: &str| adam.moments.get(&format!("{which}.{name}"));
                    let (Some(first), Some(second)) = (moment("first"), moment("second")) else {
                        continue;
                    };
                    pickler.integer(number);
                    pickler.dict(|pickler| {
                        pickler.text("step");
                        pickler.step(adam.step);
                        pickler.text("exp_avg");
                        pickler.tensor(first);
                        pickler.text("exp_avg_sq");
                        pickler.tensor(second);
                    });
                }
            });
            pickler.text("param_groups");
            pickler.bytes.extend(*b"](");
            pickler.dict(|pickler| pickler.group(state.len(), adam.learning_rate));
            pickler.bytes.push(b'e');
        });
    }

    fn group(&mut self, parameters: usize, learning_rate: f64) {
        const FALSE: u8 = 0x89;
        self.text("lr");
        self.float(learning_rate);
        self.text("betas");
        self.float(0.9);
        self.float(0.999);
        self.bytes.push(0x86);
        self.text("eps");
        self.float(1e-8);
        self.text("weight_decay");
        self.integer(0);
        for flag in [
            "amsgrad",
            "maximize",
            "capturable",
            "differentiable",
            "decoupled_weight_decay",
        ] {
            self.text(flag);
            self.bytes.push(FALSE);
        }
        for choice in ["foreach", "fused"] {
            self.text(choice);
            self.bytes.push(b'N');
        }
        self.text("params");
        self.bytes.extend(*b"](");
        for number in 0..parameters {
            self.integer(number);
        }
        self.bytes.push(b'e');
    }

    fn dict(&mut self, entries: impl FnOnce(&mut Self)) {
        self.bytes.push(b'}');
        self.entries(entries);
    }

    fn entries(&mut self, entries: impl FnOnce(&mut Self)) {
        self.bytes.push(b'(');
        entries(self);
        self.bytes.push(b'u');
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes
            .extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn name(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").into_bytes());
    }

    fn float(&mut self, value: f64) {
        self.bytes.push(b'G');
        self.bytes.extend(value.to_be_bytes());
    }

    /// A natural number: four bytes where they hold it, else eight.
    fn integer(&mut self, value: usize) {
        match i32::try_from(value) {
            Ok(small) => {
                self.bytes.push(b'J');
                self.bytes.extend(small.to_le_bytes());
            }
            Err(_) => {
                self.bytes.extend([0x8a, 8]);
                self.bytes.extend((value as u64).to_le_bytes());
            }
        }
    }

    fn step(&mut self, step: u64) {
        self.view(Dtype::F32, &[], (step as f32).to_le_bytes().to_vec().into());
    }

    fn tensor(&mut self, tensor: &'a HostTensor) {
        self.view(tensor.dtype(), tensor.shape(), tensor.bytes().into());
    }

    /// `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
    fn view(&mut self, dtype: Dtype, shape: &[usize], bytes: Cow<'a, [u8]>) {
        let storage = match dtype {
            Dtype::F32 => "FloatStorage",
            Dtype::I64 => "LongStorage",
            _ => "DoubleStorage",
        };
        self.name("torch._utils", "_rebuild_tensor_v2");
        self.bytes.extend(*b"((");
        self.text("storage");
        self.name("torch", storage);
        self.text(&self.storages.len().to_string());
        self.text("cpu");
        self.integer(shape.iter().product());
        self.bytes.extend(*b"tQ");
        self.integer(0);
        self.tuple(shape);
        self.tuple(&contiguous_strides(shape));
        self.bytes.push(0x89);
        self.name("collections", "OrderedDict");
        self.bytes.extend(*b")RtR");
        self.storages.push(bytes);
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.bytes.push(b'(');
        for &number in numbers {
            self.integer(number);
        }
        self.bytes.push(b't');
    }
}

/// Strides of a tensor that is stored row by row.
fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len())
        .map(|axis| shape[axis..].iter().product())
        .collect()
}
