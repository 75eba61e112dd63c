//! Stands in for `deflate` where that feature is off: both directions are types without a value, so nothing is ever compressed.

use bytes::Bytes;

use crate::ProtocolError;
use crate::utf8::Utf8Stream;

#[derive(Debug)]
pub(crate) enum Inbound {}

impl Inbound {
    pub(crate) fn received(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn feed(&mut self, _: &[u8], _: Option<&mut Utf8Stream>, _: usize) -> Result<(), ProtocolError> {
        match *self {}
    }

    pub(crate) fn feed_block(
        &mut self,
        _: &[u8],
        _: Option<&mut Utf8Stream>,
        _: usize,
    ) -> Result<usize, ProtocolError> {
        match *self {}
    }

    pub(crate) fn has_more(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take(&mut self) -> Bytes {
        match *self {}
    }

    pub(crate) fn put_back(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(crate) fn finish(&mut self) -> Result<Bytes, ProtocolError> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Outbound {}

impl Outbound {
    pub(crate) fn message<T>(&mut self, _: &[u8], _: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match *self {}
    }

    pub(crate) fn fragment<T>(&mut self, _: bool, _: &[u8], _: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match *self {}
    }

    pub(crate) fn sent_elsewhere(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(crate) fn rest(&mut self) {
        match *self {}
    }
}
