//! A pickle reader that can build plain values and describe tensors, and nothing else.
//!
//! Pickles are programs of a stack machine (Python's `pickletools` documents the instructions). This one keeps
//! containers in a table and passes their numbers around, so that neither sharing nor cycles nor nesting cost
//! anything; all memory is bounded by the pickle's length.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::PthError;

/// PyTorch's own calls have up to seven.
const MOST_ARGUMENTS: usize = 8;
const MOST_DIMENSIONS: usize = 8;

/// Number of a container or description in the pickle's tables.
pub(super) type Id = usize;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// Tuples and lists.
    Sequence(Id),
    Dict(Id),
    Name(Name),
    Storage(Id),
    Tensor(Id),
}

/// The names that a checkpoint of tensors needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

/// What a storage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    I64,
    Bool,
}

/// A storage of the archive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: Rc<str>,
    pub(super) element: Element,
    /// Number of elements.
    pub(super) length: usize,
}

/// A tensor as a view of a storage; offset and strides count elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) storage: Id,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle describes.
#[derive(Debug)]
pub(super) struct Pickle {
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    views: Vec<View>,
    root: Value,
}

impl Pickle {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PthError> {
        let mut machine = Machine::new(bytes);
        machine.run()?;
        let root = machine.pop()?;
        Ok(Self {
            root,
            ..machine.pickle
        })
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    pub(super) fn dict(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(id) => Some(&self.dicts[*id]),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(id) => Some(&self.sequences[*id]),
            _ => None,
        }
    }

    /// Value of a dictionary under a text; the last one where it is set twice.
    pub(super) fn entry(&self, dict: &Value, name: &str) -> Option<&Value> {
        let is_it = |key: &Value| matches!(key, Value::Text(text) if **text == *name);
        let entries = self.dict(dict)?;
        entries
            .iter()
            .rfind(|(key, _)| is_it(key))
            .map(|(_, value)| value)
    }

    pub(super) fn view(&self, id: Id) -> &View {
        &self.views[id]
    }

    pub(super) fn storage(&self, id: Id) -> &Storage {
        &self.storages[id]
    }
}

/// The stack machine.
struct Machine<'a> {
    bytes: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack where marks were set.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value>,
    pickle: Pickle,
}

fn damaged<T>(problem: &str) -> Result<T, PthError> {
    Err(PthError::Pickle(problem.to_owned()))
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            stack: vec![],
            marks: vec![],
            memo: BTreeMap::new(),
            pickle: Pickle {
                sequences: vec![],
                dicts: vec![],
                storages: vec![],
                views: vec![],
                root: Value::None,
            },
        }
    }

    /// Carries out instructions up to the stop.
    fn run(&mut self) -> Result<(), PthError> {
        loop {
            let [instruction] = self.array()?;
            match instruction {
                b'.' => return Ok(()),
                // Protocol and frames say nothing about the values.
                0x80 => drop(self.array::<1>()?),
                0x95 => drop(self.array::<8>()?),
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'K' => self.integer_of::<1>()?,
                b'M' => self.integer_of::<2>()?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(value.into()));
                }
                0x8a => self.long()?,
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.stack.push(Value::Float(value));
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                0x8c => {
                    let [length] = self.array()?;
                    self.text(length.into())?;
                }
                b'(' => self.marks.push(self.stack.len()),
                b')' => self.push_sequence(vec![]),
                b']' => self.push_sequence(vec![]),
                b't' => {
                    let items = self.since_mark()?;
                    self.push_sequence(items);
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(items)?;
                }
                b'}' => self.push_dict(),
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b'q' => {
                    let [index] = self.array()?;
                    self.memoize(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.memoize(index)?;
                }
                0x94 => self.memoize(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
                b'h' => {
                    let [index] = self.array()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.name(&module, &name)?;
                }
                0x93 => {
                    let (Value::Text(name), Value::Text(module)) = (self.pop()?, self.pop()?) else {
                        return damaged("a name is no text");
                    };
                    self.name(&module, &name)?;
                }
                b'Q' => self.persistent()?,
                b'R' => self.call()?,
                b'b' => self.set_state()?,
                other => return Err(PthError::Instruction(instruction_name(other))),
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PthError> {
        match self.bytes.split_first_chunk() {
            Some((array, rest)) => {
                self.bytes = rest;
                Ok(*array)
            }
            None => damaged("it ends early"),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PthError> {
        match self.bytes.split_at_checked(length) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => damaged("it ends early"),
        }
    }

    /// Up to the end of a line.
    fn line(&mut self) -> Result<String, PthError> {
        let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') else {
            return damaged("it ends early");
        };
        let line = self.take(end + 1)?;
        match std::str::from_utf8(&line[..end]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => damaged("a name is not UTF-8"),
        }
    }

    fn text(&mut self, length: usize) -> Result<(), PthError> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => {
                self.stack.push(Value::Text(text.into()));
                Ok(())
            }
            Err(_) => damaged("a text is not UTF-8"),
        }
    }

    fn integer_of<const N: usize>(&mut self) -> Result<(), PthError> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// A number of up to eight bytes, two's complement.
    fn long(&mut self) -> Result<(), PthError> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return damaged("a number has more than 64 bits");
        }
        let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) {
            0xff
        } else {
            0
        };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, PthError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            _ => damaged("its stack runs empty"),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, PthError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => damaged("a mark is missing"),
        }
    }

    fn push_sequence(&mut self, items: Vec<Value>) {
        self.stack.push(Value::Sequence(self.pickle.sequences.len()));
        self.pickle.sequences.push(items);
    }

    fn push_dict(&mut self) {
        self.stack.push(Value::Dict(self.pickle.dicts.len()));
        self.pickle.dicts.push(vec![]);
    }

    fn tuple(&mut self, length: usize) -> Result<(), PthError> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_sequence(items);
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PthError> {
        match self.stack.last() {
            Some(Value::Sequence(id)) => {
                self.pickle.sequences[*id].extend(items);
                Ok(())
            }
            _ => damaged("something is appended to what is no list"),
        }
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), PthError> {
        let Some(Value::Dict(id)) = self.stack.last() else {
            return damaged("an entry is set in what is no dictionary");
        };
        if items.len() % 2 == 1 {
            return damaged("a key has no value");
        }
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            self.pickle.dicts[*id].push((key, value));
        }
        Ok(())
    }

    fn memoize(&mut self, index: u32) -> Result<(), PthError> {
        match self.stack.last() {
            Some(value) => {
                self.memo.insert(index, value.clone());
                Ok(())
            }
            None => damaged("its stack runs empty"),
        }
    }

    fn recall(&mut self, index: u32) -> Result<(), PthError> {
        match self.memo.get(&index) {
            Some(value) => {
                self.stack.push(value.clone());
                Ok(())
            }
            None => damaged("it recalls what it never noted"),
        }
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), PthError> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            ("torch", "FloatStorage") => Name::Storage(Element::F32),
            ("torch", "DoubleStorage") => Name::Storage(Element::F64),
            ("torch", "LongStorage") => Name::Storage(Element::I64),
            ("torch", "BoolStorage") => Name::Storage(Element::Bool),
            _ => {
                // Names may be as long as the pickle, and of any characters.
                let said: String = format!("{module}.{name}").escape_debug().take(200).collect();
                return Err(PthError::Forbidden(said));
            }
        };
        self.stack.push(Value::Name(known));
        Ok(())
    }

    /// A storage: `("storage", <type>, <key>, <device>, <number of elements>)`.
    fn persistent(&mut self) -> Result<(), PthError> {
        let description = self.pop()?;
        let storage = match self.pickle.sequence(&description) {
            Some(
                [
                    Value::Text(kind),
                    Value::Name(Name::Storage(element)),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(length),
                ],
            ) if **kind == *"storage" => Storage {
                key: key.clone(),
                element: *element,
                length: natural(*length)?,
            },
            _ => return damaged("a storage is not described as PyTorch does"),
        };
        self.stack.push(Value::Storage(self.pickle.storages.len()));
        self.pickle.storages.push(storage);
        Ok(())
    }

    fn call(&mut self) -> Result<(), PthError> {
        let arguments = self.pop()?;
        let Value::Name(name) = self.pop()? else {
            return damaged("it calls what is no name");
        };
        let arguments = match self.pickle.sequence(&arguments) {
            // Bounded, because the same list may be named any number of times.
            Some(arguments) if arguments.len() <= MOST_ARGUMENTS => arguments.to_vec(),
            _ => return damaged("a call has no usable arguments"),
        };
        match (name, arguments.as_slice()) {
            (Name::OrderedDict, []) => self.push_dict(),
            (Name::RebuildTensor, [Value::Storage(storage), Value::Int(offset), shape, strides, ..]) => {
                let view = View {
                    storage: *storage,
                    offset: natural(*offset)?,
                    shape: self.naturals(shape)?,
                    strides: self.naturals(strides)?,
                };
                self.stack.push(Value::Tensor(self.pickle.views.len()));
                self.pickle.views.push(view);
            }
            (Name::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => self.stack.push(tensor.clone()),
            _ => return damaged("a tensor is not described as PyTorch does"),
        }
        Ok(())
    }

    fn naturals(&self, value: &Value) -> Result<Vec<usize>, PthError> {
        let Some(items) = self.pickle.sequence(value) else {
            return damaged("a shape is no tuple");
        };
        if items.len() > MOST_DIMENSIONS {
            return damaged("a tensor has more than eight dimensions");
        }
        items
            .iter()
            .map(|item| match item {
                Value::Int(value) => natural(*value),
                _ => damaged("a shape holds what is no number"),
            })
            .collect()
    }

    /// The attributes of an ordered dictionary (a state dict's version numbers) are not needed.
    fn set_state(&mut self) -> Result<(), PthError> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => damaged("it sets the attributes of what is no dictionary"),
        }
    }
}

fn natural(value: i64) -> Result<usize, PthError> {
    match usize::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => damaged("a size is negative"),
    }
}

/// An instruction in words, as far as people are likely to meet it.
fn instruction_name(instruction: u8) -> String {
    let name = match instruction {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'S' | b'T' | b'U' | b'V' => "STRING",
        b'B' | b'C' | 0x8e | 0x96 => "BYTES",
        0x8f..=0x91 => "SET",
        _ => return format!("0x{instruction:02x}"),
    };
    format!("0x{instruction:02x} ({name})")
}
