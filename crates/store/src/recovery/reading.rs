//! Bytes from a disk that may not give all of them, and the seed that their checksums depend on.

use super::{RecoverError, STORE};
use crate::disk::Disk;
use crate::frame::{HEADER, HeaderError, Seed, SegmentHeader, segment_name};
use std::io;

pub(super) fn read_store(disk: &mut dyn Disk) -> Result<Option<Seed>, RecoverError> {
    let bytes = match disk.read(STORE, 0, HEADER) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) => Vec::new(),
    };
    seed_in(&bytes)
}

fn seed_in(bytes: &[u8]) -> Result<Option<Seed>, RecoverError> {
    match SegmentHeader::read(bytes) {
        Ok(header) => Ok(Some(header.seed)),
        Err(HeaderError::Version(version)) => Err(RecoverError::Version(version)),
        Err(HeaderError::Damaged) => Ok(None),
    }
}

pub(super) fn seed_of_segments(disk: &mut dyn Disk, sequences: &[u64]) -> Result<Option<Seed>, RecoverError> {
    for sequence in sequences {
        if let Some(seed) = seed_in(&disk.read(&segment_name(*sequence), 0, HEADER).unwrap_or_default())? {
            return Ok(Some(seed));
        }
    }
    Ok(None)
}

/// A whole file. What the disk cannot read becomes zeros, which are no record.
pub(crate) fn read_patiently(disk: &mut dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    const LARGE: usize = 1 << 20;
    const SMALL: usize = 4 << 10;
    let length = usize::try_from(disk.length(name)?).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let wanted = LARGE.min(length - bytes.len());
        match disk.read(name, bytes.len() as u64, wanted) {
            Ok(part) if !part.is_empty() => bytes.extend_from_slice(&part),
            // Shorter than it was a moment ago: the rest is not there.
            Ok(_) => break,
            Err(_) => {
                let end = bytes.len() + wanted;
                while bytes.len() < end {
                    let wanted = SMALL.min(end - bytes.len());
                    let mut part = disk.read(name, bytes.len() as u64, wanted).unwrap_or_default();
                    part.resize(wanted, 0);
                    bytes.extend_from_slice(&part);
                }
            }
        }
    }
    Ok(bytes)
}
