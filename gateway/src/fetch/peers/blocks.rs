//! Requests for blocks of home's index: whoever gives wrong ones, or none when asked, has the same strikes as for tarballs.

use resolver::hedge::Errand;
use resolver::peer::PeerId;

use super::line::Route;
use super::{Peers, Source};
use crate::rooted::{Judge, Provider, Verdict};

impl Peers {
    /// A peer that is asked over a stream of the connection that proves who it is.
    pub(in crate::fetch) fn by_stream(provider: &Provider) -> Source {
        let Provider { id, near, .. } = *provider;
        Source { id, near, errand: Errand::Held, route: Route::Stream }
    }
}

impl Judge for Peers {
    fn begin(&self, id: PeerId) -> Option<Verdict> {
        let asking = Self::begin(self, &Self::by_stream(&Provider { id, near: true, is_home: false }))?;
        Some(Box::new(move |ended| match ended {
            Ok(()) => asking.served(),
            Err(fault) => asking.failed(fault),
        }))
    }
}
