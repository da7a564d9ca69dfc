//! One database in memory, and what its file was when it was read.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use maxminddb::{MaxMindDbError, Reader};
use resolver::geo::Whereabouts;

use super::record::Record;
use crate::units::Size;

/// The largest that are sold have some 400 MB; all of it is kept in memory.
const LARGEST: u64 = 1 << 30;

/// One database.
#[derive(Debug)]
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
    bytes: usize,
    /// That it is damaged is said once.
    damaged: AtomicBool,
}

/// Which file stood at a path; another one, or the same with other contents, has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is no file")]
    NoFile,
    #[error("is larger than 1GiB, which no database of places is")]
    TooLarge,
    #[error("is being written just now")]
    Changing,
    #[error("is not a database in MaxMind's format (.mmdb), or is not whole: {0}")]
    Broken(#[from] MaxMindDbError),
}

impl Stamp {
    /// What stands at a path now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Database {
    /// Reads a whole file, which must not change meanwhile.
    pub(super) fn read(path: &Path) -> Result<(Self, Stamp), Unusable> {
        // Opening what is no file may take for ever.
        if !fs::metadata(path)?.is_file() {
            return Err(Unusable::NoFile);
        }
        let file = fs::File::open(path)?;
        let stamp = Stamp::from(&file.metadata()?);
        if stamp.length > LARGEST {
            return Err(Unusable::TooLarge);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.length).unwrap_or_default() + 1);
        (&file).take(stamp.length + 1).read_to_end(&mut bytes)?;
        if Stamp::from(&file.metadata()?) != stamp || bytes.len() as u64 != stamp.length {
            return Err(Unusable::Changing);
        }
        Ok((Self::parse(bytes)?, stamp))
    }

    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, MaxMindDbError> {
        let length = bytes.len();
        Ok(Self { reader: Reader::from_source(bytes)?, bytes: length, damaged: AtomicBool::new(false) })
    }

    /// What it says of an address. A place in it that is damaged says nothing.
    pub(super) fn locate(&self, address: IpAddr) -> Whereabouts {
        // A database of IPv4 addresses says nothing of any IPv6 address.
        let Ok(found) = self.reader.lookup(address) else {
            return Whereabouts::default();
        };
        // Above the part with IPv4 addresses all of them are alike.
        let network = found.network().ok().filter(|network| network.is_ipv4() == address.is_ipv4());
        let prefix = network.map_or(0, |network| network.prefix());
        let record = found.decode::<Record<'_>>().unwrap_or_else(|error| {
            self.complain(address, &error);
            None
        });
        record.unwrap_or_default().whereabouts(prefix)
    }

    fn complain(&self, address: IpAddr, error: &MaxMindDbError) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            let kind = &self.reader.metadata().database_type;
            tracing::warn!(kind, %address, %error, "a database of places is damaged where this address stands");
        }
    }

    /// `"GeoLite2-City" of 2026-11-20, 60MiB`
    pub(super) fn describe(&self) -> String {
        let metadata = self.reader.metadata();
        let built = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(metadata.build_epoch));
        let printable = built.filter(|_| metadata.build_epoch < 253_402_300_800);
        let day = printable.map(|built| format_rfc3339_seconds(built).to_string());
        let day = day.as_deref().and_then(|text| text.split('T').next()).unwrap_or("an unknown day");
        format!("{:?} of {day}, {}", metadata.database_type, Size(self.bytes as u64))
    }
}
