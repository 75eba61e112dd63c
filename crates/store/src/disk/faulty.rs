//! A disk in memory that behaves as badly as real ones may: it forgets what was not synced, tears writes, has no room, fails, flips bits.
//!
//! Owns the faults and which bytes would have survived. Everything follows from the seed.

#![allow(clippy::disallowed_types, reason = "tests keep a hold of a disk that they have given away")]

use super::Disk;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory. Clones are the same disk, so that a test keeps a hold of what it has given away.
#[derive(Clone, Debug)]
pub struct FaultyDisk(Arc<Mutex<State>>);

/// What goes wrong from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes that all files together may have; what is beyond gets `StorageFull` after the part that fits.
    pub capacity: Option<usize>,
    /// Syncs that fail. As on Linux the bytes are lost although they can be read, and the next sync succeeds.
    pub failing_syncs: u32,
    /// Writes that fail after a part of their bytes.
    pub failing_writes: u32,
    /// Changing operations until one fails, once and with this error; all after it go on. A write has been done in part then, and what a sync was to make
    /// last is lost, whatever later ones say.
    pub failing_at: Option<(u64, io::ErrorKind)>,
    /// Operations until the machine stops: the one at zero is done in part, all later ones fail.
    pub operations_left: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    /// The names as they would be found after a loss of power, by the number of the file.
    names_synced: BTreeMap<String, u64>,
    removed: BTreeMap<u64, File>,
    /// Names, made or removed, that a failed sync of the folder has lost.
    names_lost: BTreeSet<(String, Option<u64>)>,
    next_number: u64,
    faults: Faults,
    stopped: bool,
    random: u64,
    syncs: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    number: u64,
    data: Vec<u8>,
    synced: Vec<u8>,
    /// Bytes that a failed sync has lost.
    lost: Vec<Range<usize>>,
    /// Bytes that cannot be read.
    spoilt: Range<usize>,
}

/// The unit that a loss of power leaves whole.
const SECTOR: usize = 512;

impl FaultyDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: seed, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses what goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Whether [`Faults::operations_left`] has run out.
    pub fn has_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Whether [`Faults::failing_at`] is still to come.
    pub fn is_still_to_fail(&self) -> bool {
        self.state().faults.failing_at.is_some()
    }

    /// Syncs of files that succeeded.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.state().files.values().map(|file| file.data.len()).sum()
    }

    /// The process ends; the system keeps what was written. Faults end with it.
    pub fn kill(&self) {
        let mut state = self.state();
        state.stopped = false;
        state.faults = Faults::default();
    }

    /// Power is lost: of what was not synced any part may be there, sector by sector, and names as they were or are.
    pub fn lose_power(&self) {
        let mut state = self.state();
        state.stopped = false;
        state.faults = Faults::default();
        let mut survivors = BTreeMap::new();
        let current = core::mem::take(&mut state.files);
        let synced = core::mem::take(&mut state.names_synced);
        let mut by_number = core::mem::take(&mut state.removed);
        for (name, file) in &current {
            let known = synced.get(name) == Some(&file.number);
            let lost = state.names_lost.contains(&(name.clone(), Some(file.number)));
            if known || !lost && state.below(2) == 0 {
                survivors.insert(name.clone(), file.number);
            } else if let Some(number) = synced.get(name) {
                survivors.insert(name.clone(), *number);
            }
        }
        for (name, number) in synced {
            let lost = state.names_lost.contains(&(name.clone(), None));
            if !current.contains_key(&name) && (lost || state.below(2) == 0) {
                survivors.insert(name, number);
            }
        }
        by_number.extend(current.into_values().map(|file| (file.number, file)));
        for (name, number) in survivors {
            let Some(file) = by_number.get(&number) else { continue };
            let mut file = file.clone();
            state.tear(&mut file);
            state.names_synced.insert(name.clone(), number);
            state.files.insert(name, file);
        }
        state.names_lost.clear();
    }

    /// Turns one bit over, for good.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        if let Some(file) = self.state().files.get_mut(name) {
            for bytes in [&mut file.data, &mut file.synced] {
                if let Some(byte) = bytes.get_mut(byte) {
                    *byte ^= 1 << (bit & 7);
                }
            }
        }
    }

    /// Has reads of these bytes fail.
    pub fn spoil(&self, name: &str, bytes: Range<usize>) {
        if let Some(file) = self.state().files.get_mut(name) {
            file.spoilt = bytes;
        }
    }

    /// Loses the end of a file, for good.
    pub fn shorten(&self, name: &str, length: usize) {
        if let Some(file) = self.state().files.get_mut(name) {
            file.data.truncate(length);
            file.synced.truncate(length);
        }
    }

    /// A disk of its own with the same content.
    pub fn copy(&self, seed: u64) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            names_synced: state.names_synced.clone(),
            next_number: state.next_number,
            random: seed,
            ..State::default()
        })))
    }
}

impl State {
    /// SplitMix64.
    fn number(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound.max(1) as u64).unwrap_or(0)
    }

    /// What a loss of power leaves of a file.
    fn tear(&mut self, file: &mut File) {
        let (short, long) = (file.synced.len().min(file.data.len()), file.synced.len().max(file.data.len()));
        let length = short + self.below(long - short + 1);
        let mut survived = file.synced.clone();
        survived.resize(length, 0);
        for begin in (0..length).step_by(SECTOR) {
            let end = (begin + SECTOR).min(length);
            let (Some(old), Some(new)) = (survived.get_mut(begin..end), file.data.get(begin..end)) else { continue };
            if old != new && self.below(2) == 0 {
                old.copy_from_slice(new);
            }
        }
        for lost in &file.lost {
            if let Some(bytes) = survived.get_mut(lost.start..lost.end.min(length)) {
                bytes.fill(0);
            }
        }
        (file.data, file.synced) = (survived.clone(), survived);
        file.lost.clear();
    }

    /// What was done to names since the folder was synced is lost, though it can be seen.
    fn lose_names(&mut self) {
        let Self { files, names_synced, names_lost, .. } = self;
        let made = files.iter().filter(|(name, file)| names_synced.get(*name) != Some(&file.number));
        names_lost.extend(made.map(|(name, file)| (name.clone(), Some(file.number))));
        let gone = names_synced.keys().filter(|name| !files.contains_key(*name));
        names_lost.extend(gone.map(|name| (name.clone(), None)));
    }

    /// Whether the machine stops in the midst of this operation.
    fn begin(&mut self) -> io::Result<bool> {
        if self.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        match &mut self.faults.operations_left {
            Some(0) => {
                self.stopped = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// An operation that happens or not when the machine stops in its midst.
    fn either(&mut self) -> io::Result<bool> {
        Ok(if self.begin()? { self.below(2) == 0 } else { true })
    }

    /// Whether this is the operation that fails.
    fn fault(&mut self) -> Option<io::Error> {
        match &mut self.faults.failing_at {
            Some((0, kind)) => {
                let error = (*kind).into();
                self.faults.failing_at = None;
                Some(error)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// The same for an operation that happens in whole or not at all, and does not then.
    fn fail(&mut self) -> io::Result<()> {
        self.fault().map_or(Ok(()), Err)
    }

    fn ended(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other("the machine has stopped")) } else { Ok(()) }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn spend(left: &mut u32) -> bool {
    let failing = *left > 0;
    *left = left.saturating_sub(1);
    failing
}

impl Disk for FaultyDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.ended()?;
        Ok(state.files.keys().cloned().collect())
    }

    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.state().file(name)?.data.len() as u64)
    }

    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.ended()?;
        let file = state.file(name)?;
        let data = &file.data;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let end = begin.saturating_add(length).min(data.len());
        if file.spoilt.start < end && begin < file.spoilt.end {
            return Err(io::Error::other("the disk cannot read this"));
        }
        Ok(data.get(begin..end).unwrap_or_default().to_vec())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.fail()?;
        let done = state.either()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if done {
            state.next_number += 1;
            let number = state.next_number;
            state.files.insert(name.to_owned(), File { number, ..File::default() });
        }
        state.ended()
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let length = self.length(name)?;
        self.overwrite(name, length, bytes)
    }

    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut state = self.state();
        let stopping = state.begin()?;
        let fault = state.fault();
        let failing = spend(&mut state.faults.failing_writes) || fault.is_some();
        let used: usize = state.files.values().map(|file| file.data.len()).sum();
        let room = state.faults.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used));
        let part = if stopping || failing { state.below(bytes.len() + 1) } else { bytes.len() };
        let file = state.file(name)?;
        let data = &mut file.data;
        let part = part.min(room.saturating_add(data.len().saturating_sub(offset)));
        let written = bytes.get(..part).unwrap_or_default();
        data.resize(data.len().max(offset + part), 0);
        if let Some(place) = data.get_mut(offset..offset + part) {
            place.copy_from_slice(written);
        }
        // What is written again the next sync takes along.
        let (begin, end) = (offset, offset + part);
        let around = |lost: &Range<usize>| [lost.start..lost.end.min(begin), lost.start.max(end)..lost.end];
        file.lost = file.lost.iter().flat_map(around).filter(|lost| !lost.is_empty()).collect();
        state.ended()?;
        if failing {
            return Err(fault.unwrap_or_else(|| io::Error::other("the disk cannot write this")));
        }
        if part < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.fail()?;
        if state.either()? {
            state.file(name)?.data.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        state.ended()
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let done = state.either()?;
        let fault = state.fault();
        let failing = spend(&mut state.faults.failing_syncs) || fault.is_some();
        let file = state.file(name)?;
        if failing {
            let same = file.synced.iter().zip(&file.data).take_while(|(synced, data)| synced == data).count();
            file.lost.push(same..file.data.len());
            return Err(fault.unwrap_or_else(|| io::Error::other("the disk cannot sync this")));
        }
        if done {
            file.synced.clone_from(&file.data);
            for lost in &file.lost {
                let end = lost.end.min(file.synced.len());
                if let Some(bytes) = file.synced.get_mut(lost.start..end) {
                    bytes.fill(0);
                }
            }
            state.syncs += 1;
        }
        state.ended()
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.fault();
        if let Some(error) = fault {
            state.lose_names();
            return Err(error);
        }
        if state.either()? {
            let State { files, names_synced, names_lost, .. } = &mut *state;
            let lost = |name: &String, number| names_lost.contains(&(name.clone(), number));
            names_synced.retain(|name, _| files.contains_key(name) || lost(name, None));
            for (name, file) in files.iter().filter(|(name, file)| !lost(name, Some(file.number))) {
                names_synced.insert(name.clone(), file.number);
            }
        }
        state.ended()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.fail()?;
        if state.either()? {
            let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            if let Some(old) = state.files.insert(to.to_owned(), file) {
                state.removed.insert(old.number, old);
            }
        }
        state.ended()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.fail()?;
        if state.either()? {
            let file = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.removed.insert(file.number, file);
        }
        state.ended()
    }

    fn free_bytes(&mut self) -> Option<u64> {
        let state = self.state();
        let used: usize = state.files.values().map(|file| file.data.len()).sum();
        state.faults.capacity.map(|capacity| capacity.saturating_sub(used) as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = FaultyDisk::new(seed);
            disk.create("f").unwrap();
            disk.append("f", b"kept").unwrap();
            disk.sync("f").unwrap();
            disk.sync_folder().unwrap();
            disk.append("f", b"lost").unwrap();
            disk.lose_power();
            let bytes = disk.read("f", 0, 99).unwrap();
            assert!(bytes.starts_with(b"kept"), "{bytes:?}");
            outcomes.insert(bytes);
        }
        assert!(outcomes.contains(b"kept".as_slice()) && outcomes.len() > 2, "{outcomes:?}");
    }

    #[test]
    fn after_a_failed_sync_the_bytes_can_be_read_and_are_lost() {
        let mut disk = FaultyDisk::new(1);
        disk.create("f").unwrap();
        disk.sync_folder().unwrap();
        disk.append("f", b"gone").unwrap();
        disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
        assert!(disk.sync("f").is_err());
        assert!(disk.sync("f").is_ok());
        assert_eq!(disk.read("f", 0, 9).unwrap(), b"gone");
        disk.lose_power();
        assert_eq!(disk.read("f", 0, 9).unwrap(), [0; 4]);
    }

    #[test]
    fn of_what_was_written_over_any_part_may_be_as_before() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = FaultyDisk::new(seed);
            disk.create("f").unwrap();
            disk.append("f", &[0; 2 * SECTOR]).unwrap();
            disk.sync("f").unwrap();
            disk.sync_folder().unwrap();
            disk.overwrite("f", 1, &[1; 2 * SECTOR - 2]).unwrap();
            disk.lose_power();
            let bytes = disk.read("f", 0, 9 * SECTOR).unwrap();
            outcomes.insert((bytes.len(), bytes[1], bytes[SECTOR]));
        }
        let any = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(first, second)| (2 * SECTOR, first, second));
        assert_eq!(outcomes, any.into());
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let mut disk = FaultyDisk::new(1);
        disk.create("f").unwrap();
        disk.set_faults(Faults { capacity: Some(3), ..Faults::default() });
        assert_eq!(disk.append("f", b"12345").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((disk.bytes(), disk.free_bytes()), (3, Some(0)));
        disk.overwrite("f", 0, b"abc").unwrap();
        assert!(disk.overwrite("f", 2, b"45").is_err());
        assert_eq!(disk.read("f", 0, 9).unwrap(), b"ab4");
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_missing() {
        let found = (0..32).filter(|seed| {
            let mut disk = FaultyDisk::new(*seed);
            disk.create("f").unwrap();
            disk.lose_power();
            disk.list().unwrap().len() == 1
        });
        assert!((1..32).contains(&found.count()));
    }
}
