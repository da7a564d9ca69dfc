//! A prospect in words.

use std::fmt;
use std::time::Duration;

use super::{Connection, HeldPackument, Packument, Prospect, Steps, Tarball};

impl fmt::Display for Prospect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        writeln!(f, "{}", self.upstream)?;
        write!(f, "\n{}", self.packument)?;
        match &self.tarball {
            Some(tarball) => write!(f, "\n{tarball}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream {}: {}", self.url, self.state)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Packument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Some(held) => writeln!(f, "Packument: {held}")?,
            None => writeln!(f, "Packument: not held")?,
        }
        writeln!(f, "{}", self.plan)
    }
}

impl fmt::Display for HeldPackument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "held, {} bytes, revision {}", self.bytes, self.revision)?;
        let sent = self.sent_at.as_deref().unwrap_or("at a time that is not known");
        writeln!(f, "  sent by upstream {sent}, last confirmed {}", ago(self.confirmed_s_ago))?;
        let [fresh, usable] = [self.fresh_for_s, self.usable_for_s].map(lasting);
        match (self.fresh_for_s, self.usable_for_s) {
            (0, 0) => f.write_str("  neither fresh nor usable: upstream comes first"),
            (0, _) => write!(f, "  usable for {usable}; then upstream comes first"),
            _ => write!(f, "  fresh for {fresh}, then usable for {usable}; then upstream comes first"),
        }
    }
}

impl fmt::Display for Tarball {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("of a name that is not known yet");
        match self.held_bytes {
            Some(bytes) => writeln!(f, "Tarball of {}: {file}, held, {bytes} bytes", self.version)?,
            None => writeln!(f, "Tarball of {}: {file}, not held", self.version)?,
        }
        match (&self.digest, &self.digest_by) {
            (Some(digest), Some(by)) => writeln!(f, "  {digest}, says {by}")?,
            _ => writeln!(f, "  nothing is known here of what it must hash to")?,
        }
        if let Some(address) = &self.address {
            writeln!(f, "  from {address}")?;
        }
        writeln!(f, "{}", self.plan)
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = |(source, patience): (&str, Option<u64>)| match patience {
            Some(seconds) => format!("{source} (for {seconds} s)"),
            None => source.to_owned(),
        };
        let sources = self.sources.iter().map(|one| step((&one.source, one.patience_s)));
        let sources: Vec<_> = sources.collect();
        match sources.as_slice() {
            [] => f.write_str("  plan: it cannot be had")?,
            sources => write!(f, "  plan: {}", sources.join(", then "))?,
        }
        f.write_str(if self.confirmed_behind { ", and upstream behind the client's back" } else { "" })?;
        write!(f, ", because {}", self.why)?;
        match &self.obstacle {
            Some(obstacle) => write!(f, "; {obstacle}"),
            None => Ok(()),
        }
    }
}

/// How long ago upstream confirmed something.
pub(super) fn ago(seconds: Option<u64>) -> String {
    match seconds {
        Some(seconds) => format!("{} ago", lasting(seconds)),
        None => "at no time that counts".to_owned(),
    }
}

fn lasting(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
