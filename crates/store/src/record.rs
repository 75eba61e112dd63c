//! What the journal remembers, as bytes and back.
//!
//! Owns the records' bodies. Knows nothing of checksums, files or what follows from a record. Numbers are LEB128, texts and bytes begin with their length.

use bytes::Bytes;
use std::sync::Arc;
use switchboard_core::{
    AppId, CacheEffect, ChannelName, ClientInfo, Epoch, Payload, Position, Publication, Time, UserId,
};
use switchboard_hub::ChannelKey;

/// Something that the journal remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A publication with its place.
    Publication(Kept),
    /// Where a channel is, apart from its publications.
    Channel(Place),
    /// Offsets up to this one may be given away before their publications are on the disk.
    Reserved { key: ChannelKey, epoch: Epoch, head: u64, through: u64 },
    /// A publication's id that outlives it.
    Id { key: ChannelKey, epoch: Epoch, offset: u64, id: Arc<str>, until: Time },
    /// The channel is forgotten; should its name come again, it begins anew.
    Forgotten { key: ChannelKey, epoch: Epoch },
    /// All before this was on the disk when this was written.
    Synced,
    /// The process ended in order: no reserved offset has been given away in vain.
    Closed,
}

/// A publication and what keeping it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its channel, with the name that the publication has too: hashed once.
    pub(crate) key: ChannelKey,
    pub(crate) publication: Arc<Publication>,
    /// The channel's latest offset when this was written: its own, or a later one if it was written again.
    pub(crate) head: u64,
    /// What is not kept any more, through this offset.
    pub(crate) dropped: u64,
    /// How long it is kept, in microseconds.
    pub(crate) ttl: u64,
    /// Under which name it is remembered, and until when.
    pub(crate) id: Option<(Arc<str>, Time)>,
    /// The first offset whose id is still remembered, for the journal alone: the record does not tell it.
    pub(crate) ids_from: u64,
    /// The channel's cached value when this was written.
    pub(crate) cached: Option<Cached>,
    /// Through which offset the channel had reserved when this was written; not above `head` if nothing was. `None` in a record of old.
    pub(crate) reserved: Option<u64>,
}

/// Which publication is a channel's cached value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) offset: u64,
    pub(crate) until: Time,
}

/// Where a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: ChannelKey,
    pub(crate) epoch: Epoch,
    /// The epoch whose publications go on under this one, because continuity could not be shown.
    pub(crate) continues: Option<Epoch>,
    pub(crate) head: u64,
    pub(crate) dropped: u64,
    /// From which offset on all is kept.
    pub(crate) complete_after: u64,
    /// Reserved through this offset; not above `head` if nothing is.
    pub(crate) reserved: u64,
    pub(crate) cached: Option<Cached>,
}

const PUBLICATION: u8 = 1;
const CHANNEL: u8 = 2;
const RESERVED: u8 = 3;
const ID: u8 = 4;
const FORGOTTEN: u8 = 5;
const SYNCED: u8 = 6;
const CLOSED: u8 = 7;

const HAS_EVENT: u64 = 1;
const HAS_KEY: u64 = 2;
const HAS_PUBLISHER: u64 = 4;
const HAS_ID: u64 = 8;
/// The two bits between are the payload's kind.
const HAS_CACHED: u64 = 64;
const HAS_RESERVED: u64 = 128;

/// A place continues an epoch.
const CONTINUES: u64 = 1;
/// A place has a cached value.
const PLACE_CACHED: u64 = 2;

impl Record {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Publication(kept) => kept.write(out),
            Self::Channel(place) => place.write(out),
            Self::Reserved { key, epoch, head, through } => {
                begin(out, RESERVED, key, *epoch);
                numbers(out, [*head, *through]);
            }
            Self::Id { key, epoch, offset, id, until } => {
                begin(out, ID, key, *epoch);
                numbers(out, [*offset, until.as_micros()]);
                text(out, id);
            }
            Self::Forgotten { key, epoch } => begin(out, FORGOTTEN, key, *epoch),
            Self::Synced => out.push(SYNCED),
            Self::Closed => out.push(CLOSED),
        }
    }

    /// Reads a body. `None` if it is none of ours: its checksum was good, so another version wrote it, or our bug.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        let mut reader = Reader(rest);
        let record = match *kind {
            PUBLICATION => Self::Publication(Kept::read(&mut reader)?),
            CHANNEL => Self::Channel(Place::read(&mut reader)?),
            RESERVED => {
                let (key, epoch) = reader.begin()?;
                Self::Reserved { key, epoch, head: reader.number()?, through: reader.number()? }
            }
            ID => {
                let (key, epoch) = reader.begin()?;
                let (offset, until) = (reader.number()?, Time::from_micros(reader.number()?));
                Self::Id { key, epoch, offset, id: reader.text()?.into(), until }
            }
            FORGOTTEN => {
                let (key, epoch) = reader.begin()?;
                Self::Forgotten { key, epoch }
            }
            SYNCED => Self::Synced,
            CLOSED => Self::Closed,
            _ => return None,
        };
        reader.0.is_empty().then_some(record)
    }
}

impl Kept {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let publication = &*self.publication;
        out.push(PUBLICATION);
        text(out, self.key.app.as_str());
        text(out, self.key.channel.as_str());
        number(out, publication.position.epoch.0);
        let Position { offset, .. } = publication.position;
        numbers(out, [offset, offset - publication.previous.min(offset), self.head.saturating_sub(offset)]);
        numbers(out, [self.dropped, publication.timestamp.as_micros(), self.ttl]);
        let flag = |present: bool, flag| if present { flag } else { 0 };
        let (payload, bytes): (u64, &[u8]) = match &publication.payload {
            Payload::Json(text) => (0, text.as_bytes()),
            Payload::Text(text) => (1, text.as_bytes()),
            Payload::Binary(bytes) => (2, bytes),
        };
        let flags = flag(publication.event.is_some(), HAS_EVENT)
            | flag(publication.key.is_some(), HAS_KEY)
            | flag(publication.publisher.is_some(), HAS_PUBLISHER)
            | flag(self.id.is_some(), HAS_ID)
            | flag(self.cached.is_some(), HAS_CACHED)
            | flag(self.reserved.is_some(), HAS_RESERVED);
        number(out, flags | payload << 4);
        // Whom it was not meant for is not kept: a session's name may come again after a restart.
        let user = publication.publisher.as_ref().map(|publisher| publisher.user.as_str());
        for name in [publication.event.as_deref(), publication.key.as_deref(), user].into_iter().flatten() {
            text(out, name);
        }
        if let Some((id, until)) = &self.id {
            text(out, id);
            number(out, until.as_micros());
        }
        if let Some(cached) = self.cached {
            cached.write(out);
        }
        if let Some(reserved) = self.reserved {
            number(out, reserved.saturating_sub(self.head));
        }
        number(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (key, epoch) = reader.begin()?;
        let (offset, back, ahead) = (reader.number()?, reader.number()?, reader.number()?);
        let (dropped, timestamp, ttl) = (reader.number()?, reader.number()?, reader.number()?);
        let flags = reader.number()?;
        let mut name = |flag| if flags & flag == 0 { Some(None) } else { reader.text().map(Some) };
        let (event, replaces, user) = (name(HAS_EVENT)?, name(HAS_KEY)?, name(HAS_PUBLISHER)?);
        let publisher = match user {
            Some(user) => Some(ClientInfo { user: UserId::parse(user).ok()? }),
            None => None,
        };
        let id = if flags & HAS_ID == 0 {
            None
        } else {
            Some((Arc::from(reader.text()?), Time::from_micros(reader.number()?)))
        };
        let cached = if flags & HAS_CACHED == 0 { None } else { Some(Cached::read(reader)?) };
        let reserved = if flags & HAS_RESERVED == 0 { None } else { Some(reader.number()?) };
        let payload = match (flags & !(HAS_CACHED | HAS_RESERVED)) >> 4 {
            0 => Payload::Json(reader.text()?.into()),
            1 => Payload::Text(reader.text()?.into()),
            2 => Payload::Binary(Bytes::copy_from_slice(reader.bytes()?)),
            _ => return None,
        };
        let publication = Publication {
            channel: key.channel.clone(),
            position: Position { epoch, offset },
            previous: offset.checked_sub(back)?,
            timestamp: Time::from_micros(timestamp),
            event: event.map(Into::into),
            key: replaces.map(Into::into),
            payload,
            publisher,
            exclude: None,
            // What it did to the cached value is done.
            cache: CacheEffect::None,
        };
        let head = offset.checked_add(ahead)?;
        let reserved = match reserved {
            Some(more) => Some(head.checked_add(more)?),
            None => None,
        };
        Some(Self { key, publication: Arc::new(publication), head, dropped, ttl, id, ids_from: 0, cached, reserved })
    }
}

impl Cached {
    fn write(self, out: &mut Vec<u8>) {
        numbers(out, [self.offset, self.until.as_micros()]);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: reader.number()?, until: Time::from_micros(reader.number()?) })
    }
}

impl Place {
    fn write(&self, out: &mut Vec<u8>) {
        begin(out, CHANNEL, &self.key, self.epoch);
        let continues = if self.continues.is_some() { CONTINUES } else { 0 };
        let cached = if self.cached.is_some() { PLACE_CACHED } else { 0 };
        numbers(out, [continues | cached, self.continues.map_or(0, |epoch| epoch.0)]);
        numbers(out, [self.head, self.dropped, self.complete_after, self.reserved]);
        if let Some(cached) = self.cached {
            cached.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (key, epoch) = reader.begin()?;
        let (flags, old) = (reader.number()?, Epoch(reader.number()?));
        if flags & !(CONTINUES | PLACE_CACHED) != 0 {
            return None;
        }
        Some(Self {
            key,
            epoch,
            continues: (flags & CONTINUES != 0).then_some(old),
            head: reader.number()?,
            dropped: reader.number()?,
            complete_after: reader.number()?,
            reserved: reader.number()?,
            cached: if flags & PLACE_CACHED == 0 { None } else { Some(Cached::read(reader)?) },
        })
    }
}

fn begin(out: &mut Vec<u8>, kind: u8, key: &ChannelKey, epoch: Epoch) {
    out.push(kind);
    text(out, key.app.as_str());
    text(out, key.channel.as_str());
    number(out, epoch.0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn numbers<const N: usize>(out: &mut Vec<u8>, values: [u64; N]) {
    values.into_iter().for_each(|value| number(out, value));
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(first & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    fn begin(&mut self) -> Option<(ChannelKey, Epoch)> {
        let app = AppId::new(self.text()?);
        let channel = ChannelName::restore(self.text()?)?;
        Some((ChannelKey::new(app, channel), Epoch(self.number()?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Option<Arc<str>>> {
        proptest::option::of("[a-zé]{0,12}".prop_map(Arc::from))
    }

    fn key() -> impl Strategy<Value = ChannelKey> {
        ("[a-z]{1,5}", "[a-zü:/]{1,9}")
            .prop_map(|(app, channel)| ChannelKey::new(AppId::new(&app), ChannelName::parse(&channel).unwrap()))
    }

    fn payload() -> impl Strategy<Value = Payload> {
        prop_oneof![
            "[0-9]{1,9}".prop_map(|text| Payload::Json(text.into())),
            ".{0,30}".prop_map(|text| Payload::Text(text.into())),
            proptest::collection::vec(any::<u8>(), 0..30).prop_map(|bytes| Payload::Binary(bytes.into())),
        ]
    }

    fn cached() -> impl Strategy<Value = Option<Cached>> {
        let cached = |(offset, until)| Cached { offset, until: Time::from_micros(until) };
        proptest::option::of((any::<u64>(), any::<u64>()).prop_map(cached))
    }

    prop_compose! {
        fn kept()(
            key in key(), epoch: u64, offset in 1..u64::MAX / 2, back in 1_u64..9, ahead in 0_u64..9, dropped: u64, timestamp: u64, ttl: u64,
            event in name(), replaces in name(), payload in payload(), user in proptest::option::of("[a-z]{1,9}"),
            id in proptest::option::of(("[a-z]{1,9}", any::<u64>())), cached in cached(), more in proptest::option::of(0_u64..9),
        ) -> Kept {
            Kept {
                key: key.clone(),
                publication: Arc::new(Publication {
                    channel: key.channel,
                    position: Position { epoch: Epoch(epoch), offset },
                    previous: offset.saturating_sub(back),
                    timestamp: Time::from_micros(timestamp),
                    event,
                    key: replaces,
                    payload,
                    publisher: user.map(|user| ClientInfo { user: UserId::parse(&user).unwrap() }),
                    exclude: None,
                    cache: CacheEffect::None,
                }),
                head: offset + ahead,
                dropped,
                ttl,
                id: id.map(|(id, until)| (Arc::from(id), Time::from_micros(until))),
                ids_from: 0,
                cached,
                reserved: more.map(|more| offset + ahead + more),
            }
        }
    }

    fn record() -> impl Strategy<Value = Record> {
        let numbers = || (any::<u64>(), any::<u64>(), any::<u64>());
        prop_oneof![
            kept().prop_map(Record::Publication),
            (key(), numbers(), numbers(), proptest::option::of(any::<u64>()), cached()).prop_map(
                |(key, a, b, continues, cached)| {
                    let continues = continues.map(Epoch);
                    Record::Channel(Place {
                        key,
                        epoch: Epoch(a.0),
                        continues,
                        head: a.1,
                        dropped: a.2,
                        complete_after: b.0,
                        reserved: b.1,
                        cached,
                    })
                }
            ),
            (key(), numbers()).prop_map(|(key, a)| Record::Reserved {
                key,
                epoch: Epoch(a.0),
                head: a.1,
                through: a.2
            }),
            (key(), numbers(), ".{0,9}").prop_map(|(key, a, id)| Record::Id {
                key,
                epoch: Epoch(a.0),
                offset: a.1,
                id: id.into(),
                until: Time::from_micros(a.2),
            }),
            (key(), any::<u64>()).prop_map(|(key, epoch)| Record::Forgotten { key, epoch: Epoch(epoch) }),
            Just(Record::Synced),
            Just(Record::Closed),
        ]
    }

    proptest! {
        #[test]
        fn records_are_read_as_written(record in record(), more: u8) {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            prop_assert_eq!(Record::read(&bytes), Some(record));
            for end in 0..bytes.len() {
                prop_assert_eq!(Record::read(&bytes[..end]), None);
            }
            bytes.push(more);
            prop_assert_eq!(Record::read(&bytes), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::read(&bytes);
        }
    }
}
