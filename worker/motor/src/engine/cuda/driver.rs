//! The card of NVIDIA's driver: memory, copies and kernels of one run, on a stream of its own.
//!
//! Runs that share a card share its context and compiled programs, and nothing else: their kernels run side by side
//! where there is room. Whatever is asked is done in order; only reading waits.

#![allow(unsafe_code)] // See `libraries.rs`.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::card::{Card, CardError, Grid};
use super::compiler::compile;
use super::libraries::{functions, open};
use super::run::{Address, Run};
use super::shape::Shape;
use super::source::KERNELS;
use crate::device::Precision;

type Handle = *mut c_void;

functions! {
    Driver of "libcuda.so.1" {
        init = "cuInit"(u32);
        error_name = "cuGetErrorName"(i32, *mut *const c_char);
        device_count = "cuDeviceGetCount"(*mut i32);
        device = "cuDeviceGet"(*mut i32, i32);
        attribute = "cuDeviceGetAttribute"(*mut i32, i32, i32);
        set_context_flags = "cuDevicePrimaryCtxSetFlags_v2"(i32, u32);
        retain_context = "cuDevicePrimaryCtxRetain"(*mut Handle, i32);
        set_context = "cuCtxSetCurrent"(Handle);
        memory_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
        allocate = "cuMemAlloc_v2"(*mut Address, usize);
        free = "cuMemFree_v2"(Address);
        allocate_host = "cuMemHostAlloc"(*mut Handle, usize, u32);
        free_host = "cuMemFreeHost"(Handle);
        fill = "cuMemsetD8Async"(Address, u8, usize, Handle);
        to_card = "cuMemcpyHtoDAsync_v2"(Address, *const c_void, usize, Handle);
        from_card = "cuMemcpyDtoHAsync_v2"(*mut c_void, Address, usize, Handle);
        create_stream = "cuStreamCreate"(*mut Handle, u32);
        destroy_stream = "cuStreamDestroy_v2"(Handle);
        wait = "cuStreamSynchronize"(Handle);
        load_program = "cuModuleLoadData"(*mut Handle, *const c_void);
        find_kernel = "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
        set_kernel = "cuFuncSetAttribute"(Handle, i32, i32);
        launch = "cuLaunchKernel"(
            Handle, u32, u32, u32, u32, u32, u32, u32, Handle, *mut *mut c_void, *mut *mut c_void
        );
    }
}

// Numbers of cuda.h.
const OUT_OF_MEMORY: i32 = 2;
const MULTIPROCESSORS: i32 = 16;
const CAPABILITY: [i32; 2] = [75, 76];
const SHARED_MEMORY_PER_BLOCK: i32 = 97;
const DYNAMIC_SHARED_MEMORY: i32 = 8;
/// A thread that waits for the card gives its processor away.
const BLOCKING_WAITS: u32 = 4;
/// A stream that does not wait for those of other libraries.
const NON_BLOCKING: u32 = 1;

fn driver() -> Result<&'static Driver, CardError> {
    static LOADED: OnceLock<Result<Driver, CardError>> = OnceLock::new();
    let load = || {
        let driver = Driver::of(open("libcuda.so.1", &["libcuda.so.1".to_owned()])?)?;
        // SAFETY: the first call, as the driver wants it.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        Ok(driver)
    };
    LOADED.get_or_init(load).as_ref().map_err(Clone::clone)
}

impl Driver {
    fn check(&self, call: &'static str, result: i32) -> Result<(), CardError> {
        if result == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: the driver gives back a string of its own, or nothing for a number that it does not know.
        let known = unsafe { (self.error_name)(result, &raw mut name) } == 0 && !name.is_null();
        let problem = if known {
            // SAFETY: just given.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        } else {
            format!("error {result}")
        };
        Err(CardError::Driver { call, problem })
    }
}

/// One of the machine's cards, for as long as the process lives.
struct Device {
    driver: &'static Driver,
    context: Handle,
    facts: Facts,
    programs: Mutex<HashMap<(Precision, usize), Arc<Kernels>>>,
    /// Memory that was given back and can be used again, by size.
    spare: Mutex<HashMap<usize, Vec<Address>>>,
}

/// What decides how kernels are built for a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Such as `sm_90`.
    pub architecture: String,
    pub multiprocessors: usize,
    /// Bytes on chip that a block can have.
    pub on_chip: usize,
}

/// A compiled program's kernels by name. They stay loaded.
struct Kernels(HashMap<&'static str, Handle>);

// SAFETY: handles of the driver may be used from any thread in which their context is current.
unsafe impl Send for Device {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Device {}
// SAFETY: as above.
unsafe impl Send for Kernels {}
// SAFETY: as above.
unsafe impl Sync for Kernels {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// The card with a number, opened once.
    fn of(index: usize) -> Result<Arc<Self>, CardError> {
        static OPENED: Mutex<Option<HashMap<usize, Arc<Device>>>> = Mutex::new(None);
        let mut opened = locked(&OPENED);
        let opened = opened.get_or_insert_default();
        if let Some(device) = opened.get(&index) {
            return Ok(device.clone());
        }
        let device = Arc::new(Self::open(index)?);
        opened.insert(index, device.clone());
        Ok(device)
    }

    fn open(index: usize) -> Result<Self, CardError> {
        let driver = driver()?;
        let (mut count, mut device, mut context) = (0, 0, null_mut());
        // SAFETY: the driver was initialised, and writes to the places given.
        unsafe {
            driver.check("cuDeviceGetCount", (driver.device_count)(&raw mut count))?;
            let count = usize::try_from(count).unwrap_or(0);
            if index >= count {
                return Err(CardError::NoSuchCard { index, count });
            }
            driver.check("cuDeviceGet", (driver.device)(&raw mut device, index as i32))?;
            // Where another library was first, its choice stands.
            let _ = (driver.set_context_flags)(device, BLOCKING_WAITS);
            driver.check(
                "cuDevicePrimaryCtxRetain",
                (driver.retain_context)(&raw mut context, device),
            )?;
        }
        let attribute = |which: i32| {
            let mut value = 0;
            // SAFETY: as above.
            let result = unsafe { (driver.attribute)(&raw mut value, which, device) };
            driver
                .check("cuDeviceGetAttribute", result)
                .map(|()| usize::try_from(value).unwrap_or(0))
        };
        let [major, minor] = CAPABILITY;
        Ok(Self {
            facts: Facts {
                architecture: format!("sm_{}{}", attribute(major)?, attribute(minor)?),
                multiprocessors: attribute(MULTIPROCESSORS)?,
                on_chip: attribute(SHARED_MEMORY_PER_BLOCK)?,
            },
            driver,
            context,
            programs: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// Has the calling thread speak to this card.
    fn enter(&self) -> Result<(), CardError> {
        // SAFETY: the context was retained and is never released.
        self.driver.check("cuCtxSetCurrent", unsafe {
            (self.driver.set_context)(self.context)
        })
    }

    /// The kernels, compiled once for all runs.
    fn kernels(&self, precision: Precision, rows: usize) -> Result<Arc<Kernels>, CardError> {
        let mut programs = locked(&self.programs);
        if let Some(kernels) = programs.get(&(precision, rows)) {
            return Ok(kernels.clone());
        }
        let compiled = compile(&self.facts.architecture, precision, rows)?;
        self.enter()?;
        let (driver, mut program, mut kernels) = (self.driver, null_mut(), HashMap::new());
        // SAFETY: the cubin is NVRTC's, names end with zero, and the driver writes to the places given.
        unsafe {
            driver.check(
                "cuModuleLoadData",
                (driver.load_program)(&raw mut program, compiled.cubin.as_ptr().cast()),
            )?;
            for name in KERNELS {
                let mut kernel = null_mut();
                let text = CString::new(name).unwrap_or_default();
                driver.check(
                    "cuModuleGetFunction",
                    (driver.find_kernel)(&raw mut kernel, program, text.as_ptr()),
                )?;
                driver.check(
                    "cuFuncSetAttribute",
                    (driver.set_kernel)(kernel, DYNAMIC_SHARED_MEMORY, self.facts.on_chip as i32),
                )?;
                kernels.insert(name, kernel);
            }
        }
        let kernels = Arc::new(Kernels(kernels));
        programs.insert((precision, rows), kernels.clone());
        Ok(kernels)
    }

    /// Memory, from what was given back where there is of that size.
    fn allocate(&self, bytes: usize) -> Result<Address, CardError> {
        if let Some(address) = locked(&self.spare).get_mut(&bytes).and_then(Vec::pop) {
            return Ok(address);
        }
        let mut address = 0;
        // SAFETY: the driver writes to the place given.
        let mut take = || unsafe { (self.driver.allocate)(&raw mut address, bytes) };
        let mut result = take();
        if result == OUT_OF_MEMORY {
            self.free_spare();
            result = take();
        }
        if result == OUT_OF_MEMORY {
            return Err(CardError::OutOfMemory { bytes });
        }
        self.driver.check("cuMemAlloc", result)?;
        Ok(address)
    }

    fn free_spare(&self) {
        for address in locked(&self.spare).drain().flat_map(|(_, addresses)| addresses) {
            // SAFETY: allocated here, given back once, and no kernel uses it any more.
            let _ = unsafe { (self.driver.free)(address) };
        }
    }
}

/// What a card is like.
///
/// # Errors
/// When the driver or the card is missing.
pub fn facts(index: usize) -> Result<Facts, CardError> {
    Device::of(index).map(|device| device.facts.clone())
}

/// Bytes of a card that are free, and all of them.
///
/// # Errors
/// When the driver or the card is missing.
pub fn memory(index: usize) -> Result<(usize, usize), CardError> {
    let device = Device::of(index)?;
    device.enter()?;
    let (mut free, mut all) = (0, 0);
    // SAFETY: the driver writes to the places given.
    let result = unsafe { (device.driver.memory_info)(&raw mut free, &raw mut all) };
    device.driver.check("cuMemGetInfo", result)?;
    Ok((free, all))
}

/// A card as one run has it.
pub struct DriverCard {
    device: Arc<Device>,
    kernels: Arc<Kernels>,
    rows: usize,
    stream: Handle,
    staging: Mutex<Staging>,
}

/// Memory of the host that the card copies from and to by itself. Handed out from its beginning, again after every
/// wait.
struct Staging {
    place: Handle,
    used: usize,
}

/// Bytes of it: a batch of the longest episodes of 32 trials.
const STAGING_BYTES: usize = 4 << 20;

// SAFETY: as for `Device`; the staging memory is used under its lock.
unsafe impl Send for DriverCard {}
// SAFETY: as above.
unsafe impl Sync for DriverCard {}

impl DriverCard {
    /// A card for runs of networks of a shape, whose blocks have `rows` rows, or fewer where so many do not fit.
    ///
    /// # Errors
    /// When the driver, NVRTC or the card is missing, or not even one row fits on chip.
    pub fn open(index: usize, shape: &Shape, precision: Precision, rows: usize) -> Result<Self, CardError> {
        let device = Device::of(index)?;
        let rows = shape
            .rows_that_fit(precision, rows, device.facts.on_chip)
            .ok_or(CardError::TooLarge { units: shape.hidden })?;
        let kernels = device.kernels(precision, rows)?;
        device.enter()?;
        let driver = device.driver;
        let (mut stream, mut place) = (null_mut(), null_mut());
        // SAFETY: the driver writes to the places given.
        unsafe {
            driver.check(
                "cuStreamCreate",
                (driver.create_stream)(&raw mut stream, NON_BLOCKING),
            )?;
            driver.check(
                "cuMemHostAlloc",
                (driver.allocate_host)(&raw mut place, STAGING_BYTES, 0),
            )?;
        }
        Ok(Self {
            device,
            kernels,
            rows,
            stream,
            staging: Mutex::new(Staging { place, used: 0 }),
        })
    }

    fn check(&self, call: &'static str, result: i32) -> Result<(), CardError> {
        self.device.driver.check(call, result)
    }

    /// Waits for everything that was asked; then all of the staging memory is free again.
    fn drain(&self, staging: &mut Staging) -> Result<(), CardError> {
        staging.used = 0;
        // SAFETY: the stream is this card's own.
        self.check("cuStreamSynchronize", unsafe {
            (self.device.driver.wait)(self.stream)
        })
    }
}

impl fmt::Debug for DriverCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverCard")
            .field("facts", &self.device.facts)
            .field("rows", &self.rows)
            .finish()
    }
}

impl Card for DriverCard {
    fn rows_per_block(&self) -> usize {
        self.rows
    }

    fn allocate(&self, bytes: usize) -> Result<Address, CardError> {
        self.device.enter()?;
        let address = self.device.allocate(bytes)?;
        // SAFETY: just allocated, with as many bytes.
        let result = unsafe { (self.device.driver.fill)(address, 0, bytes, self.stream) };
        self.check("cuMemsetD8Async", result).map(|()| address)
    }

    fn release(&self, address: Address, bytes: usize) {
        if bytes == 0 || self.device.enter().is_err() || self.drain(&mut locked(&self.staging)).is_err() {
            return;
        }
        locked(&self.device.spare).entry(bytes).or_default().push(address);
    }

    fn write(&self, address: Address, bytes: &[u8]) -> Result<(), CardError> {
        self.device.enter()?;
        let mut staging = locked(&self.staging);
        for (index, part) in bytes.chunks(STAGING_BYTES).enumerate() {
            if staging.used + part.len() > STAGING_BYTES {
                self.drain(&mut staging)?;
            }
            // SAFETY: the part fits behind what is in use, and the address has room for all parts.
            let result = unsafe {
                let place = staging.place.cast::<u8>().add(staging.used);
                std::ptr::copy_nonoverlapping(part.as_ptr(), place, part.len());
                let to = address + (index * STAGING_BYTES) as Address;
                (self.device.driver.to_card)(to, place.cast(), part.len(), self.stream)
            };
            self.check("cuMemcpyHtoDAsync", result)?;
            staging.used += part.len().next_multiple_of(64);
        }
        Ok(())
    }

    fn read(&self, address: Address, bytes: &mut [u8]) -> Result<(), CardError> {
        self.device.enter()?;
        let mut staging = locked(&self.staging);
        for (index, part) in bytes.chunks_mut(STAGING_BYTES).enumerate() {
            if staging.used + part.len() > STAGING_BYTES {
                self.drain(&mut staging)?;
            }
            let from = address + (index * STAGING_BYTES) as Address;
            // SAFETY: the part fits behind what is in use, and is copied out once the card has written it.
            unsafe {
                let place = staging.place.cast::<u8>().add(staging.used);
                let result = (self.device.driver.from_card)(place.cast(), from, part.len(), self.stream);
                self.check("cuMemcpyDtoHAsync", result)?;
                self.drain(&mut staging)?;
                std::ptr::copy_nonoverlapping(place, part.as_mut_ptr(), part.len());
            }
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, grid: Grid, run: &Run) -> Result<(), CardError> {
        self.device.enter()?;
        let function = self.kernels.0.get(kernel).copied().unwrap_or(null_mut());
        let mut argument: *mut c_void = std::ptr::from_ref(run).cast_mut().cast();
        // SAFETY: every kernel takes one `Run`, which the driver copies before it returns.
        let result = unsafe {
            (self.device.driver.launch)(
                function,
                grid.blocks as u32,
                1,
                1,
                grid.threads as u32,
                1,
                1,
                grid.on_chip as u32,
                self.stream,
                &raw mut argument,
                null_mut(),
            )
        };
        self.check("cuLaunchKernel", result)
    }

    fn wait(&self) -> Result<(), CardError> {
        self.device.enter()?;
        self.drain(&mut locked(&self.staging))
    }
}

impl Drop for DriverCard {
    fn drop(&mut self) {
        let staging = self.staging.get_mut().unwrap_or_else(PoisonError::into_inner);
        let driver = self.device.driver;
        if self.device.enter().is_ok() {
            // SAFETY: both are this card's own, and nothing uses them once the stream is done.
            unsafe {
                let _ = (driver.wait)(self.stream);
                let _ = (driver.destroy_stream)(self.stream);
                let _ = (driver.free_host)(staging.place);
            }
        }
    }
}
