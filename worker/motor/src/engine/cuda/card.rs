//! What the engine asks of a card. The driver's is in `driver`; tests have one that is a processor, which runs the
//! same kernels.

use std::fmt;
use std::sync::Arc;

use super::run::{Address, Run};

/// Memory, copies and kernels, in the order in which they are asked for. Nothing but [`read`](Card::read) and
/// [`wait`](Card::wait) waits.
pub trait Card: fmt::Debug + Send + Sync {
    /// Rows of an episode that a block of the kernels has.
    fn rows_per_block(&self) -> usize;

    /// Zeros.
    ///
    /// # Errors
    /// [`CardError::OutOfMemory`], or what the driver says.
    fn allocate(&self, bytes: usize) -> Result<Address, CardError>;

    /// Gives memory back once nothing uses it any more.
    fn release(&self, address: Address, bytes: usize);

    /// Copies to the card. The bytes may be changed as soon as this returns.
    ///
    /// # Errors
    /// What the driver says.
    fn write(&self, address: Address, bytes: &[u8]) -> Result<(), CardError>;

    /// Copies from the card, once everything before is done.
    ///
    /// # Errors
    /// What the driver says, also of what went wrong in kernels before.
    fn read(&self, address: Address, bytes: &mut [u8]) -> Result<(), CardError>;

    /// Has a kernel run.
    ///
    /// # Errors
    /// What the driver says.
    fn launch(&self, kernel: &'static str, grid: Grid, run: &Run) -> Result<(), CardError>;

    /// Returns once everything that was asked is done.
    ///
    /// # Errors
    /// What the driver says, also of what went wrong in kernels before.
    fn wait(&self) -> Result<(), CardError>;
}

/// Blocks, threads of each, and bytes that these share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub blocks: usize,
    pub threads: usize,
    pub on_chip: usize,
}

/// What goes wrong on a card.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CardError {
    /// A library of CUDA is not there: on a machine without a card, or with half of an installation.
    #[error("{library} cannot be used: {problem}")]
    Library { library: &'static str, problem: String },
    #[error("CUDA device {index} does not exist, there are {count}")]
    NoSuchCard { index: usize, count: usize },
    #[error("the card is out of memory: {bytes} bytes more were asked for")]
    OutOfMemory { bytes: usize },
    #[error("{units} units do not fit on chip")]
    TooLarge { units: usize },
    #[error("the kernels do not compile: {0}")]
    Compile(String),
    #[error("{call} failed: {problem}")]
    Driver { call: &'static str, problem: String },
}

/// Memory of a card that grows when more is asked for.
#[derive(Debug)]
pub(super) struct Buffer {
    card: Arc<dyn Card>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    pub(super) fn new(card: &Arc<dyn Card>, bytes: usize) -> Result<Self, CardError> {
        let mut buffer = Self {
            card: card.clone(),
            address: 0,
            bytes: 0,
        };
        buffer.reserve(bytes)?;
        Ok(buffer)
    }

    /// With the given content.
    pub(super) fn of(card: &Arc<dyn Card>, content: &[u8]) -> Result<Self, CardError> {
        let buffer = Self::new(card, content.len())?;
        buffer.write(content)?;
        Ok(buffer)
    }

    /// Makes room. What was there is lost where it grows; new memory holds zeros.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<Address, CardError> {
        if bytes > self.bytes {
            self.card.release(self.address, self.bytes);
            (self.address, self.bytes) = (0, 0);
            self.address = self.card.allocate(bytes)?;
            self.bytes = bytes;
        }
        Ok(self.address)
    }

    pub(super) fn address(&self) -> Address {
        self.address
    }

    pub(super) fn write(&self, content: &[u8]) -> Result<(), CardError> {
        if content.is_empty() {
            return Ok(());
        }
        self.card.write(self.address, content)
    }

    /// The first bytes.
    pub(super) fn read(&self, bytes: usize) -> Result<Vec<u8>, CardError> {
        let mut content = vec![0; bytes.min(self.bytes)];
        if !content.is_empty() {
            self.card.read(self.address, &mut content)?;
        }
        Ok(content)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.card.release(self.address, self.bytes);
    }
}
